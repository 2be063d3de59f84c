//! Paths in the code of a file, resolved to the file that defines the item.
//!
//! A path counts wherever it stands: in a `use`, in an expression or type, and in the tokens of a
//! macro. `mod name;` and a doc link are not imports. Methods are not resolved.

use std::collections::BTreeMap;

use proc_macro2::{Spacing, TokenStream, TokenTree};
use syn::spanned::Spanned;
use syn::visit::{self, Visit};
use syn::{ImplItem, Item, TraitItem, UseTree};

use super::source::{Module, attributes, is_test_only};

/// Name of the library in the paths of the programs.
const CRATE: &str = "ndecho";

/// Most steps of re-exports and of renamed imports in one path.
const DEPTH_MAX: usize = 8;

/// Path in the code of a file, written in full: it starts with `crate` or with the name of another
/// crate.
pub(crate) struct Import {
    pub(crate) line: usize,
    pub(crate) path: Vec<String>,
    pub(crate) kind: Kind,
}

/// Place of a path.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(crate) enum Kind {
    /// Leaf of a `use`. If it names a module, the paths through that module count instead.
    Use,
    /// `use path::*`.
    Glob,
    /// Leaf of a `pub use`, which makes a name available and does not use it.
    Export,
    /// Path in an expression, a type, a pattern or a macro.
    Code,
}

/// Target of a path.
pub(crate) struct Target<'a> {
    pub(crate) file: &'a str,
    pub(crate) is_module: bool,
}

/// Calls `found` with the path and the local name of each leaf of `tree`. A glob has the name `*`.
pub(crate) fn flatten(tree: &UseTree, found: &mut dyn FnMut(&[String], &str)) {
    fn go(tree: &UseTree, path: &mut Vec<String>, found: &mut dyn FnMut(&[String], &str)) {
        let depth = path.len();
        match tree {
            UseTree::Path(inner) => {
                path.push(inner.ident.to_string());
                go(&inner.tree, path, found);
            }
            UseTree::Name(leaf) if leaf.ident == "self" => {
                found(path, path.last().map_or("", String::as_str));
            }
            UseTree::Name(leaf) => {
                path.push(leaf.ident.to_string());
                found(path, &leaf.ident.to_string());
            }
            UseTree::Rename(leaf) => {
                if leaf.ident != "self" {
                    path.push(leaf.ident.to_string());
                }
                found(path, &leaf.rename.to_string());
            }
            UseTree::Glob(_) => found(path, "*"),
            UseTree::Group(group) => group.items.iter().for_each(|tree| go(tree, path, found)),
        }
        path.truncate(depth);
    }
    go(tree, &mut Vec::new(), found);
}

/// Lists the imports of the file at `path`, without those of its tests.
pub(crate) fn imports(root: &Module, path: &str, file: &syn::File) -> Vec<Import> {
    // Names first, because a path can stand above the `use` of its first segment.
    let mut names = Names { names: BTreeMap::new() };
    names.visit_file(file);
    let module = module_path(path);
    let mut reader = Reader { root, module, names: names.names, found: Vec::new() };
    reader.visit_file(file);
    reader.found
}

/// Finds the module or the item at `path`. Returns `None` for other crates.
pub(crate) fn resolve<'a>(root: &'a Module, path: &[String]) -> Option<Target<'a>> {
    resolve_from(root, path, 0)
}

fn resolve_from<'a>(root: &'a Module, path: &[String], depth: usize) -> Option<Target<'a>> {
    if path.first()? != "crate" || depth > DEPTH_MAX {
        return None;
    }
    let mut module = root;
    let mut at = vec!["crate".to_owned()];
    let mut is_module = true;
    for (index, name) in path.iter().enumerate().skip(1) {
        let is_last = index + 1 == path.len();
        let is_item = module.items.contains(name);
        if let Some(child) = module.children.get(name).filter(|_| !(is_last && is_item)) {
            module = child;
            at.push(name.clone());
            continue;
        }
        is_module = false;
        if is_item {
            break;
        }
        let rest = &path[index + 1..];
        for (export, target) in &module.exports {
            let target = absolute(module, &at, target);
            let mut full = target;
            if export == "*" {
                full.push(name.clone());
            } else if export != name {
                continue;
            }
            full.extend_from_slice(rest);
            match resolve_from(root, &full, depth + 1) {
                Some(found) if export != "*" || defines(root, &full) => return Some(found),
                _ => {}
            }
        }
        break;
    }
    Some(Target { file: &module.file, is_module })
}

/// Returns true if the last segment of `path` is an item of the module before it.
fn defines(root: &Module, path: &[String]) -> bool {
    let (Some((last, before)), true) = (path.split_last(), path.len() > 1) else { return false };
    let mut parents = before[1..].iter();
    let module = parents.try_fold(root, |module, name| module.children.get(name));
    module.is_some_and(|module| module.items.contains(last) || module.children.contains_key(last))
}

/// Writes `path` in full, as seen from `module`, which lies at `at`.
fn absolute(module: &Module, at: &[String], path: &[String]) -> Vec<String> {
    let mut full = at.to_vec();
    let mut rest = path;
    match rest.first().map(String::as_str) {
        Some("crate" | CRATE) => {
            full.truncate(1);
            rest = &rest[1..];
        }
        Some("self") => rest = &rest[1..],
        Some("super") => {
            while rest.first().is_some_and(|first| first == "super") {
                full.pop();
                rest = &rest[1..];
            }
        }
        Some(name) if module.children.contains_key(name) => {}
        _ => return path.to_vec(),
    }
    full.extend_from_slice(rest);
    full
}

fn module_path(file: &str) -> Vec<String> {
    let below = file.trim_start_matches("src/").trim_end_matches(".rs");
    let parts = below.split('/').filter(|part| *part != "mod" && *part != "lib");
    std::iter::once("crate").chain(parts).map(str::to_owned).collect()
}

/// Local names that the `use` items of a file introduce.
struct Names {
    names: BTreeMap<String, Vec<String>>,
}

impl<'ast> Visit<'ast> for Names {
    fn visit_item(&mut self, item: &'ast Item) {
        if !is_test_only(attributes(item)) {
            visit::visit_item(self, item);
        }
    }

    fn visit_item_use(&mut self, item: &'ast syn::ItemUse) {
        flatten(&item.tree, &mut |path, name| {
            self.names.insert(name.to_owned(), path.to_vec());
        });
    }
}

struct Reader<'a> {
    root: &'a Module,
    /// Path of the module that is being read.
    module: Vec<String>,
    names: BTreeMap<String, Vec<String>>,
    found: Vec<Import>,
}

impl Reader<'_> {
    fn add(&mut self, line: usize, path: &[String], kind: Kind) {
        let path = self.full(path, 0);
        self.found.push(Import { line, path, kind });
    }

    /// Writes `path` in full.
    fn full(&self, path: &[String], depth: usize) -> Vec<String> {
        let empty = Module::default();
        let module = self.module[1..]
            .iter()
            .try_fold(self.root, |module, name| module.children.get(name))
            .unwrap_or(&empty);
        let first = path.first().map(String::as_str).unwrap_or_default();
        let is_relative = ["crate", CRATE, "self", "super"].contains(&first);
        if is_relative || module.children.contains_key(first) {
            return absolute(module, &self.module, path);
        }
        match self.names.get(first) {
            Some(target) if depth < DEPTH_MAX && target.first() != path.first() => {
                let mut full = target.clone();
                full.extend_from_slice(&path[1..]);
                self.full(&full, depth + 1)
            }
            Some(target) if target.len() > 1 => [target, &path[1..]].concat(),
            _ => path.to_vec(),
        }
    }

    /// Finds paths of two or more segments in the tokens of a macro.
    fn tokens(&mut self, tokens: TokenStream) {
        let mut path: Vec<String> = Vec::new();
        let mut line = 0;
        let mut colons = 0;
        for token in tokens {
            match token {
                TokenTree::Ident(ident) => {
                    if colons != 2 {
                        self.end_of_tokens(line, &mut path);
                        line = ident.span().start().line;
                    }
                    path.push(ident.to_string());
                    colons = 0;
                }
                TokenTree::Punct(mark) if mark.as_char() == ':' => {
                    colons += 1;
                    if colons == 1 && mark.spacing() == Spacing::Alone {
                        self.end_of_tokens(line, &mut path);
                    }
                }
                TokenTree::Group(group) => {
                    self.end_of_tokens(line, &mut path);
                    self.tokens(group.stream());
                    colons = 0;
                }
                TokenTree::Punct(_) | TokenTree::Literal(_) => {
                    self.end_of_tokens(line, &mut path);
                    colons = 0;
                }
            }
        }
        self.end_of_tokens(line, &mut path);
    }

    fn end_of_tokens(&mut self, line: usize, path: &mut Vec<String>) {
        if path.len() > 1 {
            self.add(line, path, Kind::Code);
        }
        path.clear();
    }
}

impl<'ast> Visit<'ast> for Reader<'_> {
    fn visit_item(&mut self, item: &'ast Item) {
        if !is_test_only(attributes(item)) {
            visit::visit_item(self, item);
        }
    }

    fn visit_impl_item(&mut self, item: &'ast ImplItem) {
        let is_test = matches!(item, ImplItem::Fn(item) if is_test_only(&item.attrs));
        if !is_test {
            visit::visit_impl_item(self, item);
        }
    }

    fn visit_trait_item(&mut self, item: &'ast TraitItem) {
        let is_test = matches!(item, TraitItem::Fn(item) if is_test_only(&item.attrs));
        if !is_test {
            visit::visit_trait_item(self, item);
        }
    }

    fn visit_item_mod(&mut self, item: &'ast syn::ItemMod) {
        self.module.push(item.ident.to_string());
        visit::visit_item_mod(self, item);
        self.module.pop();
    }

    fn visit_item_use(&mut self, item: &'ast syn::ItemUse) {
        let line = item.span().start().line;
        let is_export = !matches!(item.vis, syn::Visibility::Inherited);
        flatten(&item.tree, &mut |path, name| {
            let kind = match name {
                _ if is_export => Kind::Export,
                "*" => Kind::Glob,
                _ => Kind::Use,
            };
            self.add(line, path, kind);
        });
    }

    fn visit_path(&mut self, path: &'ast syn::Path) {
        if path.segments.len() > 1 {
            let names: Vec<String> = path.segments.iter().map(|s| s.ident.to_string()).collect();
            self.add(path.span().start().line, &names, Kind::Code);
        }
        visit::visit_path(self, path);
    }

    fn visit_macro(&mut self, call: &'ast syn::Macro) {
        visit::visit_macro(self, call);
        self.tokens(call.tokens.clone());
    }

    fn visit_vis_restricted(&mut self, _: &'ast syn::VisRestricted) {}

    fn visit_attribute(&mut self, _: &'ast syn::Attribute) {}
}
