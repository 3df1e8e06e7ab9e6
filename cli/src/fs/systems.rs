//! From what the user writes to filesystems and what is in them.

use std::collections::HashMap;
use std::sync::Arc;

use ozone_client::Client;
use ozone_client::ofs::Ofs;
use ozone_common::config::Config;
use tokio::sync::Mutex;

use super::error::{FsError, Result};
use super::glob::{Pattern, braces, is_pattern, unescape};
use super::item::Item;
use super::location::{Location, join, name_of, normal, parent_of};
use super::system::{Cluster, System};
use crate::address::config_for;
use crate::error::CliError;
use crate::shell::connect;

const OFS: &str = "ofs";
const O3FS: &str = "o3fs";
const FILE: &str = "file";

/// The filesystems of one command, each opened when a path first leads to it.
pub(super) struct Systems<'a> {
    config: &'a Config,
    default: Location,
    open: Mutex<HashMap<String, Arc<System>>>,
    clients: Mutex<HashMap<String, Client>>,
}

impl<'a> Systems<'a> {
    pub(super) fn new(config: &'a Config) -> Result<Self> {
        let default = config.get_str("fs.defaultFS").map_err(CliError::from)?;
        let mut default = Location::parse(default.trim_end_matches('/'));
        default.scheme.get_or_insert_with(|| OFS.to_owned());
        Ok(Self {
            config,
            default,
            open: Mutex::default(),
            clients: Mutex::default(),
        })
    }

    pub(super) fn config(&self) -> &Config {
        self.config
    }

    /// Leaves the clusters.
    pub(super) async fn close(&self) {
        for client in self.clients.lock().await.values() {
            client.close().await;
        }
    }

    /// What is at a path, without patterns.
    pub(super) async fn item(&self, text: &str) -> Result<Item> {
        let location = Location::parse(text);
        let system = self.system(&location).await?;
        let mut item = item_at(text.to_owned(), system, &location);
        item.refresh().await?;
        Ok(item)
    }

    /// What is at a path of this machine.
    pub(super) async fn local(&self, text: &str) -> Result<Item> {
        let mut location = Location::parse(text);
        if location.scheme.as_deref() != Some(FILE) {
            location.path = text.to_owned();
        }
        let mut item = item_at(text.to_owned(), Arc::new(System::Local), &location);
        item.refresh().await?;
        Ok(item)
    }

    /// What a path stands for: everything that its pattern matches, or without one, what is there or not.
    pub(super) async fn expand(&self, text: &str) -> Result<Vec<Item>> {
        let location = Location::parse(text);
        if is_pattern(&location.path) {
            return self.matches(&location).await;
        }
        let plain = unescape(text);
        let location = Location::parse(&plain);
        let system = self.system(&location).await?;
        let mut item = item_at(plain.clone(), system, &location);
        item.refresh().await?;
        if item.exists() {
            item.text = shown(&item, &location);
        }
        Ok(vec![item])
    }

    /// What the command's last argument stands for, which is one place at most.
    pub(super) async fn destination(&self, text: &str) -> Result<Item> {
        let mut items = self.expand(text).await?;
        match (items.pop(), items.is_empty()) {
            (None, _) => Err(FsError::missing(text)),
            (Some(only), true) => Ok(only),
            (Some(_), false) => Err(FsError::path(text, "Too many matches")),
        }
    }

    async fn matches(&self, location: &Location) -> Result<Vec<Item>> {
        let system = self.system(location).await?;
        let home = system.home();
        let mut found: Vec<Item> = Vec::new();
        for pattern in braces(&location.path)? {
            let top = if pattern.starts_with('/') { "/" } else { &home };
            let mut level = vec![Item {
                text: String::new(),
                system: system.clone(),
                path: top.to_owned(),
                status: None,
            }];
            let names: Vec<_> = pattern.split('/').filter(|n| !n.is_empty()).collect();
            for (depth, name) in names.iter().enumerate() {
                level = step(level, name, depth + 1 == names.len()).await?;
            }
            found.append(&mut level);
        }
        found.sort_by(|a, b| a.path.cmp(&b.path));
        found.dedup_by(|a, b| a.path == b.path);
        for item in &mut found {
            item.text = shown(item, location);
        }
        Ok(found)
    }

    /// The filesystem that a path leads to.
    async fn system(&self, location: &Location) -> Result<Arc<System>> {
        let default = &self.default;
        let scheme = location.scheme.as_ref().or(default.scheme.as_ref());
        let scheme = scheme.map_or(OFS, String::as_str);
        let same = default.scheme.as_deref() == Some(scheme);
        let fallback = default.authority.as_ref().filter(|_| same);
        let authority = location.authority.as_ref().or(fallback);
        let authority = authority.map_or("", String::as_str);
        let uri = format!("{scheme}://{authority}");
        let mut open = self.open.lock().await;
        if let Some(system) = open.get(&uri) {
            return Ok(system.clone());
        }
        let system = match scheme {
            FILE => System::Local,
            OFS => self.cluster(uri.clone(), authority, None).await?,
            O3FS => {
                let (bucket, server) = bucket_of(authority)?;
                self.cluster(uri.clone(), server, Some(bucket)).await?
            }
            _ => {
                let text = format!("No FileSystem for scheme \"{scheme}\"");
                return Err(FsError::Other(text));
            }
        };
        let system = Arc::new(system);
        open.insert(uri, system.clone());
        Ok(system)
    }

    async fn cluster(&self, uri: String, server: &str, bucket: Option<Bucket>) -> Result<System> {
        let mut clients = self.clients.lock().await;
        let client = match clients.get(server) {
            Some(client) => client.clone(),
            None => {
                let client = connect(&config_for(server, self.config)?).await?;
                clients.insert(server.to_owned(), client.clone());
                client
            }
        };
        let shared = self.config.get_bool("ozone.om.enable.ofs.shared.tmp.dir");
        let ofs = Ofs::new(client, shared.map_err(CliError::from)?);
        Ok(System::Cluster(Box::new(Cluster { uri, bucket, ofs })))
    }
}

/// A volume and a bucket in it.
type Bucket = (String, String);

/// The bucket of an `o3fs` authority, and the server.
fn bucket_of(authority: &str) -> Result<(Bucket, &str)> {
    let mut parts = authority.splitn(3, '.');
    match (parts.next(), parts.next(), parts.next()) {
        (Some(bucket), Some(volume), server) if !bucket.is_empty() && !volume.is_empty() => {
            let bucket = (volume.to_owned(), bucket.to_owned());
            Ok((bucket, server.unwrap_or_default()))
        }
        _ => Err(FsError::Argument(
            "Ozone file system URL should be one of the following formats: \
             o3fs://bucket.volume/key OR o3fs://bucket.volume.om-host.example.com/key OR \
             o3fs://bucket.volume.om-host.example.com:5678/key"
                .to_owned(),
        )),
    }
}

fn item_at(text: String, system: Arc<System>, location: &Location) -> Item {
    let path = match location.is_absolute() {
        true => normal(&location.path, ""),
        false => normal(&location.path, &system.home()),
    };
    Item {
        text,
        system,
        path,
        status: None,
    }
}

/// The path in the form in which the user wrote: with the scheme and authority that he gave, and if he
/// began at home, from there.
fn shown(item: &Item, location: &Location) -> String {
    if location.is_absolute() {
        return format!("{}{}", location.prefix(), item.path);
    }
    let home = item.system.home();
    match item.path.strip_prefix(&home) {
        Some("") => ".".to_owned(),
        Some(rest) if rest.starts_with('/') => rest[1..].to_owned(),
        _ => item.path.clone(),
    }
}

/// What one more name of a pattern leads to.
async fn step(level: Vec<Item>, name: &str, last: bool) -> Result<Vec<Item>> {
    let mut next = Vec::new();
    for dir in level {
        if !is_pattern(name) {
            let path = match unescape(name).as_str() {
                "." => dir.path.clone(),
                ".." => parent_of(&dir.path).unwrap_or("/").to_owned(),
                name => join(&dir.path, name),
            };
            let mut item = Item { path, ..dir };
            if last {
                item.text = name_of(&item.path).to_owned();
                item.refresh().await?;
            }
            if item.exists() || !last {
                next.push(item);
            }
            continue;
        }
        let pattern = Pattern::parse(name)?;
        let mut entries = match dir.system.list(&dir.path).await {
            Ok(entries) => entries,
            // There, or a file: nothing in it matches.
            Err(trouble) if trouble.matches_nothing() => continue,
            Err(trouble) => return Err(trouble.at(&dir.path)),
        };
        loop {
            let page = entries.next_page().await.map_err(|t| t.at(&dir.path))?;
            if page.is_empty() {
                break;
            }
            let fits = page
                .into_iter()
                .filter(|entry| pattern.matches(&entry.name) && (last || entry.is_directory()));
            next.extend(fits.map(|entry| dir.child(&entry.name.clone(), Some(entry))));
        }
    }
    Ok(next)
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;

    #[test]
    fn a_bucket_is_named_before_its_volume_and_the_server() {
        let bucket = ("v".to_owned(), "b".to_owned());
        for (text, server) in [
            ("b.v", ""),
            ("b.v.om", "om"),
            ("b.v.127.0.0.1:9862", "127.0.0.1:9862"),
        ] {
            assert_eq!(bucket_of(text).unwrap(), (bucket.clone(), server));
        }
        assert!(bucket_of("b").is_err());
    }
}
