//! The protos of all services, indexed by what tools ask for.

use std::collections::{BTreeMap, HashMap};
use std::sync::LazyLock;

use bytes::Bytes;
use prost::{DecodeError, Message};
use prost_types::{
    DescriptorProto, EnumDescriptorProto, FieldDescriptorProto, FileDescriptorProto,
};
use tonic_reflection::pb::{v1, v1alpha};

use crate::pb;

/// Read when it is first asked for. The protos are compiled in, so reading them cannot fail.
pub(super) static DESCRIPTORS: LazyLock<Descriptors> = LazyLock::new(|| {
    let sets = [
        // With the details of a status, so that tools can decode them.
        pb::DESCRIPTOR,
        v1::FILE_DESCRIPTOR_SET,
        v1alpha::FILE_DESCRIPTOR_SET,
    ];
    Descriptors::read(&sets).unwrap_or_default()
});

#[derive(Debug, Default)]
pub(super) struct Descriptors {
    files: Vec<File>,
    /// By name, as are the others: the positions of files.
    names: HashMap<String, usize>,
    symbols: HashMap<String, usize>,
    /// By the type that is extended, and the number.
    extensions: HashMap<String, BTreeMap<i32, usize>>,
    services: Vec<String>,
}

#[derive(Debug)]
struct File {
    /// As compiled: decoding and encoding would lose the options that are extensions.
    encoded: Bytes,
    dependencies: Vec<usize>,
}

/// A `FileDescriptorSet` whose files are not decoded.
#[derive(Clone, PartialEq, Message)]
struct EncodedFiles {
    #[prost(bytes = "bytes", repeated, tag = "1")]
    file: Vec<Bytes>,
}

impl Descriptors {
    fn read(sets: &[&'static [u8]]) -> Result<Self, DecodeError> {
        let mut found = Self::default();
        let mut protos = Vec::new();
        for set in sets {
            for encoded in EncodedFiles::decode(Bytes::from_static(set))?.file {
                let proto = FileDescriptorProto::decode(encoded.clone())?;
                if !found.names.contains_key(proto.name()) {
                    found.names.insert(proto.name().to_owned(), protos.len());
                    protos.push((encoded, proto));
                }
            }
        }
        for (at, (encoded, proto)) in protos.into_iter().enumerate() {
            found.add(at, &proto);
            let known = proto.dependency.iter().filter_map(|name| found.names.get(name));
            let dependencies = known.copied().collect();
            found.files.push(File { encoded, dependencies });
        }
        Ok(found)
    }

    fn add(&mut self, file: usize, proto: &FileDescriptorProto) {
        let scope = proto.package();
        for message in &proto.message_type {
            self.add_message(file, scope, message);
        }
        for enumeration in &proto.enum_type {
            self.add_enum(file, scope, enumeration);
        }
        for extension in &proto.extension {
            self.add_extension(file, scope, extension);
        }
        for service in &proto.service {
            let name = self.add_symbol(file, scope, service.name());
            for method in &service.method {
                self.add_symbol(file, &name, method.name());
            }
            self.services.push(name);
        }
    }

    fn add_symbol(&mut self, file: usize, scope: &str, name: &str) -> String {
        let name = if scope.is_empty() { name.to_owned() } else { format!("{scope}.{name}") };
        self.symbols.insert(name.clone(), file);
        name
    }

    fn add_message(&mut self, file: usize, scope: &str, message: &DescriptorProto) {
        let name = self.add_symbol(file, scope, message.name());
        for field in &message.field {
            self.add_symbol(file, &name, field.name());
        }
        for oneof in &message.oneof_decl {
            self.add_symbol(file, &name, oneof.name());
        }
        for nested in &message.nested_type {
            self.add_message(file, &name, nested);
        }
        for enumeration in &message.enum_type {
            self.add_enum(file, &name, enumeration);
        }
        for extension in &message.extension {
            self.add_extension(file, &name, extension);
        }
    }

    /// The language puts an enum's values beside it; some tools expect them below it.
    fn add_enum(&mut self, file: usize, scope: &str, enumeration: &EnumDescriptorProto) {
        let name = self.add_symbol(file, scope, enumeration.name());
        for value in &enumeration.value {
            self.add_symbol(file, scope, value.name());
            self.add_symbol(file, &name, value.name());
        }
    }

    fn add_extension(&mut self, file: usize, scope: &str, extension: &FieldDescriptorProto) {
        self.add_symbol(file, scope, extension.name());
        let extended = relative(extension.extendee()).to_owned();
        self.extensions.entry(extended).or_default().insert(extension.number(), file);
    }

    /// The full names of all services.
    pub(super) fn services(&self) -> impl Iterator<Item = &str> {
        self.services.iter().map(String::as_str)
    }

    pub(super) fn by_name(&self, name: &str) -> Option<usize> {
        self.names.get(name).copied()
    }

    /// The file that defines a message, field, enum, value, extension, service or method.
    pub(super) fn by_symbol(&self, name: &str) -> Option<usize> {
        self.symbols.get(relative(name)).copied()
    }

    pub(super) fn by_extension(&self, extended: &str, number: i32) -> Option<usize> {
        self.extensions.get(relative(extended))?.get(&number).copied()
    }

    /// The numbers of all extensions of a type, in ascending order. None if the type is not known.
    pub(super) fn extensions(&self, extended: &str) -> Option<Vec<i32>> {
        match self.extensions.get(relative(extended)) {
            Some(extensions) => Some(extensions.keys().copied().collect()),
            None => self.by_symbol(extended).map(|_| Vec::new()),
        }
    }

    /// A file, and all that it depends on, directly or not, but for those that were sent before.
    pub(super) fn with_dependencies(&self, file: usize, sent: &mut Vec<bool>) -> Vec<Vec<u8>> {
        sent.resize(self.files.len(), false);
        sent[file] = true;
        let mut files = vec![&self.files[file]];
        let mut next = 0;
        while let Some(file) = files.get(next) {
            for dependency in &file.dependencies {
                if !std::mem::replace(&mut sent[*dependency], true) {
                    files.push(&self.files[*dependency]);
                }
            }
            next += 1;
        }
        files.into_iter().map(|file| file.encoded.to_vec()).collect()
    }
}

/// A name without the dot that descriptors put before full names.
fn relative(name: &str) -> &str {
    name.strip_prefix('.').unwrap_or(name)
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use super::*;

    #[test]
    fn every_file_is_known_with_all_that_it_needs() {
        let known = &*DESCRIPTORS;
        assert!(known.files.len() > 8, "{known:?}");
        for (at, file) in known.files.iter().enumerate() {
            let proto = FileDescriptorProto::decode(file.encoded.clone()).unwrap();
            let wanted = proto.dependency.len();
            assert_eq!(file.dependencies.len(), wanted, "{}: {:?}", proto.name(), proto.dependency);
            let sent = known.with_dependencies(at, &mut Vec::new());
            let names: BTreeSet<String> = sent
                .iter()
                .map(|bytes| FileDescriptorProto::decode(&bytes[..]).unwrap().name().to_owned())
                .collect();
            assert_eq!(names.len(), sent.len(), "{}: {names:?}", proto.name());
            assert!(proto.dependency.iter().all(|name| names.contains(name)), "{names:?}");
        }
    }
}
