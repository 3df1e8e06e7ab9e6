//! A store of objects under load: so many clients at a time, each with a connection of its own, all on one thread, so
//! that they leave the machine to the store.

use std::cell::Cell;
use std::rc::Rc;

use http_body_util::BodyExt;
use ozone_tests::s3::{Request, S3};
use tokio::runtime::{Builder, Runtime};
use tokio::task::LocalSet;

use super::connection::{Answer, Connection, Content};
use super::{Amounts, PART, Place};
use crate::error::{BenchError, Result, io_error};

const BUCKET: &str = "/bench";
const LARGE: &str = "/bench/large";
/// Connections that send the parts of a large object.
const SENDERS: usize = 4;

/// A store that speaks S3.
pub(crate) struct Store {
    name: &'static str,
    s3: S3,
    runtime: Runtime,
    small: Content,
    part: Content,
}

fn request(method: &'static str, path: &str, query: &[(&str, &str)]) -> Request {
    let owned = |(name, value): &(&str, &str)| ((*name).to_owned(), (*value).to_owned());
    Request {
        method,
        path: path.to_owned(),
        query: query.iter().map(owned).collect(),
        ..Request::default()
    }
}

impl Store {
    /// With an empty bucket in it.
    pub(crate) fn new(name: &'static str, s3: S3, small: &[u8], part: &[u8]) -> Result<Self> {
        let runtime = Builder::new_current_thread().enable_all().build();
        let store = Self {
            name,
            s3,
            runtime: runtime.map_err(io_error("start threads for", BUCKET.as_ref()))?,
            small: Content::new(small.to_vec()),
            part: Content::new(part.to_vec()),
        };
        let made = request("PUT", BUCKET, &[]);
        store.runtime.block_on(async {
            let mut connection = Connection::open(&store.s3).await?;
            connection.ask(made, &Content::empty()).await
        })?;
        Ok(store)
    }

    /// Lets `clients` take the next of `count` numbers until there are no more.
    fn share<F, W>(&self, count: usize, clients: usize, work: F) -> Result<()>
    where
        F: Fn(Connection, Rc<Cell<usize>>) -> W,
        W: Future<Output = Result<()>> + 'static,
    {
        let left = Rc::new(Cell::new(count));
        let local = LocalSet::new();
        local.block_on(&self.runtime, async {
            let mut tasks = Vec::new();
            for _ in 0..clients {
                let connection = Connection::open(&self.s3).await?;
                tasks.push(tokio::task::spawn_local(work(connection, left.clone())));
            }
            for task in tasks {
                task.await.map_err(|_| BenchError::Panicked)??;
            }
            Ok(())
        })
    }
}

/// The next number to work on.
fn next(left: &Cell<usize>) -> Option<usize> {
    let next = left.get().checked_sub(1)?;
    left.set(next);
    Some(next)
}

fn key(prefix: &str, n: usize) -> String {
    format!("{BUCKET}/{prefix}/{}/{n:06}", n % 10)
}

impl Place for Store {
    fn name(&self) -> &'static str {
        self.name
    }

    fn put(&self, prefix: &str, count: usize, clients: usize) -> Result<()> {
        self.share(count, clients, |mut connection, left| {
            let (prefix, content) = (prefix.to_owned(), self.small.clone());
            async move {
                while let Some(n) = next(&left) {
                    let put = request("PUT", &key(&prefix, n), &[]);
                    connection.ask(put, &content).await?;
                }
                Ok(())
            }
        })
    }

    fn get(&self, prefix: &str, count: usize, clients: usize) -> Result<()> {
        self.share(count, clients, |mut connection, left| {
            let (prefix, content) = (prefix.to_owned(), self.small.clone());
            async move {
                let nothing = Content::empty();
                while let Some(n) = next(&left) {
                    let get = request("GET", &key(&prefix, n), &[]);
                    let answer = connection.ask(get, &nothing).await?;
                    if answer.body != content.bytes {
                        return Err(connection.wrong("other bytes than were put"));
                    }
                }
                Ok(())
            }
        })
    }

    fn list(&self, prefix: &str) -> Result<usize> {
        self.runtime.block_on(async {
            let mut connection = Connection::open(&self.s3).await?;
            let (mut found, mut token) = (0, None::<String>);
            let prefix = format!("{prefix}/");
            loop {
                let mut query = vec![("list-type", "2"), ("prefix", prefix.as_str())];
                query.extend(token.as_deref().map(|token| ("continuation-token", token)));
                let list = request("GET", BUCKET, &query);
                let page = connection.ask(list, &Content::empty()).await?;
                found += page.count("Key");
                token = page.element("NextContinuationToken");
                if token.is_none() {
                    return Ok(found);
                }
            }
        })
    }

    fn put_large(&self, amounts: &Amounts) -> Result<()> {
        let begin = request("POST", LARGE, &[("uploads", "")]);
        let begun = self.one(begin, &Content::empty())?;
        let id = begun.element("UploadId").unwrap_or_default();
        let etags = Rc::new(std::cell::RefCell::new(vec![
            String::new();
            amounts.parts()
        ]));
        self.share(amounts.parts(), SENDERS, |mut connection, left| {
            let (id, part, etags) = (id.clone(), self.part.clone(), etags.clone());
            async move {
                while let Some(n) = next(&left) {
                    let number = (n + 1).to_string();
                    let query = [("partNumber", number.as_str()), ("uploadId", id.as_str())];
                    let sent = connection.ask(request("PUT", LARGE, &query), &part).await?;
                    etags.borrow_mut()[n] = sent.etag;
                }
                Ok(())
            }
        })?;
        let part = |(n, etag): (usize, &String)| {
            let number = n + 1;
            format!("<Part><PartNumber>{number}</PartNumber><ETag>{etag}</ETag></Part>")
        };
        let parts: String = etags.borrow().iter().enumerate().map(part).collect();
        let whole = format!("<CompleteMultipartUpload>{parts}</CompleteMultipartUpload>");
        let complete = request("POST", LARGE, &[("uploadId", id.as_str())]);
        let done = self.one(complete, &Content::new(whole.into_bytes()))?;
        match done.element("ETag") {
            Some(_) => Ok(()),
            None => Err(self.wrong(&String::from_utf8_lossy(&done.body))),
        }
    }

    fn get_large(&self, amounts: &Amounts) -> Result<()> {
        let wanted = amounts.parts() * PART;
        self.runtime.block_on(async {
            let mut connection = Connection::open(&self.s3).await?;
            let get = request("GET", LARGE, &[]);
            let mut body = connection.begin(get, &Content::empty()).await?.into_body();
            let mut read = 0;
            while let Some(frame) = body.frame().await {
                let frame = frame.map_err(|error| connection.wrong(error))?;
                let Some(mut data) = frame.data_ref().cloned() else {
                    continue;
                };
                while !data.is_empty() {
                    let at = read % PART;
                    let piece = data.split_to(data.len().min(PART - at));
                    if piece != self.part.bytes[at..at + piece.len()] {
                        return Err(connection.wrong("other bytes than were put"));
                    }
                    read += piece.len();
                }
            }
            match read == wanted {
                true => Ok(()),
                false => Err(connection.wrong(format!("{read} bytes instead of {wanted}"))),
            }
        })
    }
}

impl Store {
    fn one(&self, request: Request, content: &Content) -> Result<Answer> {
        self.runtime.block_on(async {
            let mut connection = Connection::open(&self.s3).await?;
            connection.ask(request, content).await
        })
    }

    fn wrong(&self, problem: &str) -> BenchError {
        BenchError::S3 {
            endpoint: self.s3.endpoint.clone(),
            problem: problem.to_owned(),
        }
    }
}
