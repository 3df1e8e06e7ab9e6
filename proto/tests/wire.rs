//! What an Apache Ozone client and this system say to each other has Ozone's names, numbers and types.

#![allow(clippy::unwrap_used, clippy::expect_used)]

use std::collections::BTreeSet;
use std::path::Path;

/// Numbers from here on are this system's own.
const OURS: i32 = 2000;

/// One line for each field, enum value and call of Ozone's packages.
fn described() -> BTreeSet<String> {
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).join("protos");
    let files = [
        "hdds.proto",
        "OmClientProtocol.proto",
        "DatanodeClientProtocol.proto",
        "ScmServerProtocol.proto",
    ];
    let set = protox::compile(files, [root]).unwrap();
    let mut lines = BTreeSet::new();
    let ozone = |package: &str| package.starts_with("hadoop.");
    for file in set.file.iter().filter(|file| ozone(file.package())) {
        let package = file.package();
        for kind in &file.enum_type {
            let name = format!("{package}.{}", kind.name());
            let values = kind.value.iter().map(|v| (v.name(), v.number()));
            lines.extend(numbered(&name, values));
        }
        for message in &file.message_type {
            let name = format!("{package}.{}", message.name());
            for kind in &message.enum_type {
                let name = format!("{name}.{}", kind.name());
                let values = kind.value.iter().map(|v| (v.name(), v.number()));
                lines.extend(numbered(&name, values));
            }
            for field in message.field.iter().filter(|field| field.number() < OURS) {
                let kind = match field.type_name() {
                    "" => field.r#type().as_str_name(),
                    name => name,
                };
                let (label, number) = (field.label().as_str_name(), field.number());
                lines.insert(format!("{name}.{} = {number} {label} {kind}", field.name()));
            }
        }
        for service in &file.service {
            for call in &service.method {
                let (name, method) = (service.name(), call.name());
                let asked = message(call.input_type(), call.client_streaming());
                let answered = message(call.output_type(), call.server_streaming());
                lines.insert(format!("/{package}.{name}/{method} {asked} {answered}"));
            }
        }
    }
    lines
}

fn message(name: &str, stream: bool) -> String {
    match stream {
        true => format!("stream {name}"),
        false => name.to_owned(),
    }
}

fn numbered<'a>(
    name: &str,
    values: impl Iterator<Item = (&'a str, i32)>,
) -> impl Iterator<Item = String> {
    let theirs = values.filter(|(_, number)| *number < OURS);
    theirs.map(move |(value, number)| format!("{name}.{value} = {number}"))
}

#[test]
fn messages_have_ozones_names_and_numbers() {
    let table: BTreeSet<_> = include_str!("wire.txt")
        .lines()
        .map(str::to_owned)
        .collect();
    let described = described();
    let changed: Vec<_> = table.symmetric_difference(&described).collect();
    assert!(
        changed.is_empty(),
        "wire.txt and protos/ differ in: {changed:#?}"
    );
}
