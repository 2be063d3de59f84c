//! Example clients of `tools/clients`, by language and encoding.
//!
//! The files are part of this program, so an advice can print them anywhere.

use clap::ValueEnum;

use crate::array::{DType, Kind};
use crate::axis::Encoding;

/// Language of a client. Each has clients of some encodings.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub enum Language {
    #[value(alias = "sh", alias = "curl")]
    Shell,
    #[value(name = "js", alias = "javascript", alias = "node", alias = "browser")]
    JavaScript,
    Java,
    Python,
    Rust,
    #[value(name = "c++", alias = "cpp")]
    Cpp,
}

/// A client that works.
#[derive(Debug)]
pub struct Client {
    pub language: Language,
    pub encoding: Encoding,
    pub needs: &'static str,
    /// Command in the folder that holds the files; `ADDRESS` stands for the server's address.
    pub command: &'static str,
    /// Files that the client's author would change, each with its path.
    pub sources: &'static [SourceFile],
    /// Further files that the command needs.
    pub others: &'static [SourceFile],
}

#[derive(Clone, Copy, Debug)]
pub struct SourceFile {
    /// Path in the repository of this project.
    pub path: &'static str,
    pub text: &'static str,
}

macro_rules! file {
    ($path:literal) => {
        SourceFile { path: $path, text: include_str!(concat!("../../../../", $path)) }
    };
}

/// All clients. Where a language has several for an encoding, the first one is taken.
pub static CLIENTS: &[Client] = &[
    Client {
        language: Language::Shell,
        encoding: Encoding::Npy,
        needs: "curl",
        command: "sh tools/clients/curl/echo.sh ADDRESS",
        sources: &[file!("tools/clients/curl/echo.sh")],
        others: &[],
    },
    Client {
        language: Language::Shell,
        encoding: Encoding::Json,
        needs: "curl",
        command: "sh tools/clients/curl/echo_json.sh ADDRESS",
        sources: &[file!("tools/clients/curl/echo_json.sh")],
        others: &[],
    },
    Client {
        language: Language::JavaScript,
        encoding: Encoding::Npy,
        needs: "Node 18 or newer; ndecho.mjs works in a browser too",
        command: "node tools/clients/javascript/echo.mjs ADDRESS",
        sources: &[
            file!("tools/clients/javascript/echo.mjs"),
            file!("tools/clients/javascript/ndecho.mjs"),
        ],
        others: &[],
    },
    Client {
        language: Language::JavaScript,
        encoding: Encoding::Json,
        needs: "Node 18 or newer; json.mjs works in a browser too",
        command: "node tools/clients/javascript/echo.mjs ADDRESS json",
        sources: &[file!("tools/clients/javascript/json.mjs")],
        others: JAVASCRIPT,
    },
    Client {
        language: Language::JavaScript,
        encoding: Encoding::JsonBinary,
        needs: "Node 18 or newer; base64.mjs works in a browser too",
        command: "node tools/clients/javascript/echo.mjs ADDRESS base64",
        sources: &[file!("tools/clients/javascript/base64.mjs")],
        others: JAVASCRIPT,
    },
    Client {
        language: Language::Java,
        encoding: Encoding::Npy,
        needs: "JDK 17 or newer",
        command: "java tools/clients/java/Echo.java ADDRESS",
        sources: &[file!("tools/clients/java/Echo.java")],
        others: &[],
    },
    Client {
        language: Language::Python,
        encoding: Encoding::Npy,
        needs: "NumPy",
        command: "python3 tools/clients/python/rest.py ADDRESS",
        sources: &[file!("tools/clients/python/rest.py")],
        others: &[],
    },
    Client {
        language: Language::Python,
        encoding: Encoding::Protobuf,
        needs: "pip install grpcio grpcio-tools numpy",
        command: "python3 tools/clients/python/grpc_echo.py ADDRESS",
        sources: &[file!("tools/clients/python/grpc_echo.py")],
        others: &[file!("tools/clients/python/requirements.txt"), file!("proto/ndecho.proto")],
    },
    Client {
        language: Language::Python,
        encoding: Encoding::Msgpack,
        needs: "pip install msgpack numpy",
        command: "python3 tools/clients/python/rest_msgpack.py ADDRESS",
        sources: &[file!("tools/clients/python/rest_msgpack.py")],
        others: &[file!("tools/clients/python/requirements.txt")],
    },
    Client {
        language: Language::Python,
        encoding: Encoding::JsonBinary,
        needs: "NumPy",
        command: "python3 tools/clients/python/rest_base64.py ADDRESS",
        sources: &[file!("tools/clients/python/rest_base64.py")],
        others: &[],
    },
    Client {
        language: Language::Python,
        encoding: Encoding::Json,
        needs: "NumPy",
        command: "python3 tools/clients/python/rest_json.py ADDRESS",
        sources: &[file!("tools/clients/python/rest_json.py")],
        others: &[],
    },
    Client {
        language: Language::Rust,
        encoding: Encoding::Npy,
        needs: "cargo",
        command: "cargo run --manifest-path tools/clients/rust/Cargo.toml --bin rest ADDRESS",
        sources: &[file!("tools/clients/rust/src/bin/rest.rs")],
        others: RUST,
    },
    Client {
        language: Language::Rust,
        encoding: Encoding::Protobuf,
        needs: "cargo",
        command: "cargo run --manifest-path tools/clients/rust/Cargo.toml --bin grpc ADDRESS",
        sources: &[file!("tools/clients/rust/src/bin/grpc.rs")],
        others: RUST,
    },
    Client {
        language: Language::Cpp,
        encoding: Encoding::Npy,
        needs: "a compiler of C++20",
        command: "c++ -std=c++20 tools/clients/cpp/echo.cpp -o echo && ./echo ADDRESS",
        sources: &[file!("tools/clients/cpp/echo.cpp")],
        others: &[],
    },
];

/// Files that all clients in JavaScript share.
const JAVASCRIPT: &[SourceFile] =
    &[file!("tools/clients/javascript/echo.mjs"), file!("tools/clients/javascript/ndecho.mjs")];

/// Files of the package of all clients in Rust.
const RUST: &[SourceFile] = &[
    file!("tools/clients/rust/Cargo.toml"),
    file!("tools/clients/rust/Cargo.lock"),
    file!("tools/clients/rust/src/bin/grpc.rs"),
    file!("tools/clients/rust/src/bin/rest.rs"),
    file!("proto/generated.rs"),
];

impl Language {
    pub fn name(self) -> &'static str {
        match self {
            Language::Shell => "shell",
            Language::JavaScript => "JavaScript",
            Language::Java => "Java",
            Language::Python => "Python",
            Language::Rust => "Rust",
            Language::Cpp => "C++",
        }
    }

    /// Returns whether a program in this language can call gRPC without a proxy. A page in a
    /// browser cannot, and neither can curl without code for the framing.
    pub fn speaks_grpc(self) -> bool {
        !matches!(self, Language::Shell | Language::JavaScript)
    }
}

/// Finds a client that sends `encoding` and keeps each value of `dtype`, in `language` if one is
/// named.
pub fn find(
    language: Option<Language>,
    encoding: Encoding,
    dtype: DType,
) -> Option<&'static Client> {
    let is_right = |client: &&Client| {
        client.encoding == encoding
            && language.is_none_or(|language| language == client.language)
            && client.keeps(dtype)
    };
    CLIENTS.iter().find(is_right)
}

impl Client {
    /// Returns whether the language reads each finite value of `dtype` back as it was:
    /// `JSON.parse` makes a double of every number.
    fn keeps(&self, dtype: DType) -> bool {
        let is_long = matches!(dtype.kind(), Kind::Int | Kind::Uint) && dtype.item_size() == 8;
        !(is_long && self.language == Language::JavaScript && self.encoding == Encoding::Json)
    }

    pub fn command(&self, address: &str) -> String {
        self.command.replace("ADDRESS", address)
    }

    /// Returns all files that the command needs, each once.
    pub fn files(&self) -> Vec<SourceFile> {
        let mut files = self.sources.to_vec();
        let is_new = |file: &&SourceFile| self.sources.iter().all(|other| other.path != file.path);
        files.extend(self.others.iter().filter(is_new));
        files
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_language_has_a_client_and_each_command_names_its_file() {
        for language in Language::value_variants() {
            assert!(
                find(Some(*language), Encoding::Npy, DType::F8).is_some(),
                "{}",
                language.name()
            );
        }
        for client in CLIENTS {
            assert_eq!(client.command.matches("ADDRESS").count(), 1, "{}", client.command);
            assert!(client.sources.iter().all(|file| !file.text.is_empty()), "{}", client.command);
            let words: Vec<&str> = client.command.split(' ').collect();
            let is_there = |word: &&&str| word.starts_with("tools/");
            let path = words.iter().find(is_there).expect(client.command);
            assert!(client.files().iter().any(|file| file.path == *path), "{}", client.command);
            assert!(client.language.speaks_grpc() || client.encoding != Encoding::Protobuf);
        }
    }

    #[test]
    fn each_source_is_short_and_each_import_is_among_the_files() {
        for client in CLIENTS {
            for source in client.sources {
                let lines = source.text.lines().count();
                assert!(lines < 40, "{} has {lines} lines", source.path);
            }
            let files = client.files();
            for file in files.iter().filter(|file| file.path.ends_with(".mjs")) {
                let imports = file.text.split("from \"./").skip(1);
                for name in imports.filter_map(|rest| rest.split('"').next()) {
                    assert!(
                        files.iter().any(|other| other.path.ends_with(&format!("/{name}"))),
                        "{} imports {name}, which the advice does not write",
                        file.path
                    );
                }
            }
        }
    }

    #[test]
    fn javascript_gets_no_json_list_of_long_integers() {
        let find = |language, dtype: &str| {
            let dtype = DType::parse(dtype).unwrap();
            find(Some(language), Encoding::Json, dtype).is_some()
        };
        assert!(find(Language::JavaScript, "<f8") && find(Language::JavaScript, "<u4"));
        assert!(!find(Language::JavaScript, "<i8") && !find(Language::JavaScript, ">u8"));
        assert!(find(Language::Python, "<i8"));
    }

    #[test]
    fn a_file_is_listed_once() {
        let client = find(Some(Language::Rust), Encoding::Protobuf, DType::F8).unwrap();
        let mut paths: Vec<&str> = client.files().iter().map(|file| file.path).collect();
        let count = paths.len();
        paths.sort_unstable();
        paths.dedup();
        assert_eq!(paths.len(), count);
        assert_eq!(client.command("[::1]:7").rsplit(' ').next(), Some("[::1]:7"));
    }
}
