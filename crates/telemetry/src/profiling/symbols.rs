//! Names of functions, from the symbol tables of the files that are mapped.
//!
//! Debug information would tell lines and what was inlined, for hundreds of megabytes; symbol tables
//! are read when a new address turns up, and not kept.

use std::collections::HashMap;
use std::fs::File;

use object::read::{Object, ObjectSegment, ObjectSymbol, ReadCache, SymbolKind};

/// When so many addresses are known, all are forgotten: a bound, not a working size.
const MOST_KNOWN: usize = 200_000;

/// A piece of code that is mapped.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Module {
    pub(super) start: u64,
    pub(super) end: u64,
    pub(super) offset: u64,
    pub(super) path: String,
}

/// A function by its names.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub(super) struct Function {
    /// For people.
    pub(super) name: String,
    /// As the linker knows it.
    pub(super) system_name: String,
}

#[derive(Default)]
pub(super) struct Symbols {
    modules: Vec<Module>,
    functions: Vec<Function>,
    numbers: HashMap<String, usize>,
    known: HashMap<u64, usize>,
}

impl Symbols {
    /// Finds the functions of addresses that were not asked for before.
    pub(super) fn resolve(&mut self, addresses: impl IntoIterator<Item = u64>) {
        if self.known.len() > MOST_KNOWN {
            *self = Self::default();
        }
        let mut new: Vec<u64> = addresses
            .into_iter()
            .filter(|address| !self.known.contains_key(address))
            .collect();
        new.sort_unstable();
        new.dedup();
        if new.iter().any(|address| self.module(*address).is_none()) {
            self.modules = modules();
        }
        let mut files: HashMap<String, Vec<(u64, u64)>> = HashMap::new();
        for address in new {
            if let Some(number) = self.module(address) {
                let module = &self.modules[number];
                let in_file = address - module.start + module.offset;
                let wanted = files.entry(module.path.clone()).or_default();
                wanted.push((in_file, address));
            }
        }
        for (path, wanted) in files {
            let found = names(&path, &wanted);
            for (_, address) in wanted {
                let function = match found.get(&address) {
                    Some(symbol) => self.function(symbol, || readable(symbol)),
                    None => {
                        let file = path.rsplit('/').next().unwrap_or(&path);
                        let name = format!("[{}]", file.trim_matches(['[', ']']));
                        self.function(&name, || name.clone())
                    }
                };
                self.known.insert(address, function);
            }
        }
    }

    fn function(&mut self, symbol: &str, name: impl FnOnce() -> String) -> usize {
        if let Some(number) = self.numbers.get(symbol) {
            return *number;
        }
        let number = self.functions.len();
        self.functions.push(Function {
            name: name(),
            system_name: symbol.to_owned(),
        });
        self.numbers.insert(symbol.to_owned(), number);
        number
    }

    /// The number of the module that an address is in, and of its function.
    pub(super) fn place(&self, address: u64) -> Option<(usize, usize)> {
        Some((self.module(address)?, *self.known.get(&address)?))
    }

    fn module(&self, address: u64) -> Option<usize> {
        self.modules
            .iter()
            .position(|module| (module.start..module.end).contains(&address))
    }

    pub(super) fn module_at(&self, number: usize) -> Option<&Module> {
        self.modules.get(number)
    }

    pub(super) fn function_at(&self, number: usize) -> Option<&Function> {
        self.functions.get(number)
    }
}

/// The bounds of the code that `address` is part of.
pub(super) fn code_around(address: u64) -> Option<(u64, u64)> {
    modules()
        .into_iter()
        .map(|module| (module.start, module.end))
        .find(|(start, end)| (*start..*end).contains(&address))
}

fn modules() -> Vec<Module> {
    let maps = std::fs::read_to_string("/proc/self/maps").unwrap_or_default();
    maps.lines().filter_map(module).collect()
}

/// `7f..-7f.. r-xp 00028000 08:01 1234   /usr/lib/libc.so.6`, when it is code.
fn module(line: &str) -> Option<Module> {
    let mut words = line.split_ascii_whitespace();
    let (start, end) = words.next()?.split_once('-')?;
    let executable = words.next()?.contains('x');
    let offset = words.next()?;
    // Device and inode; then the path, which may have spaces.
    let (_, _) = (words.next()?, words.next()?);
    let path = words.collect::<Vec<_>>().join(" ");
    let number = |text| u64::from_str_radix(text, 16).ok();
    (executable && !path.is_empty()).then_some(())?;
    Some(Module {
        start: number(start)?,
        end: number(end)?,
        offset: number(offset)?,
        path,
    })
}

/// The symbols of addresses; `wanted` has each address with its place in the file.
fn names(path: &str, wanted: &[(u64, u64)]) -> HashMap<u64, String> {
    let mut found = HashMap::new();
    // The program's own file may have been replaced since: this one is what runs.
    let own = std::fs::read_link("/proc/self/exe").is_ok_and(|own| own.as_os_str() == path);
    let path = if own { "/proc/self/exe" } else { path };
    let Ok(file) = File::open(path) else {
        return found;
    };
    let cache = ReadCache::new(file);
    let Ok(elf) = object::File::parse(&cache) else {
        return found;
    };
    let in_memory = |in_file: u64| {
        elf.segments().find_map(|segment| {
            let (start, size) = segment.file_range();
            let within = (start..start + size).contains(&in_file);
            within.then(|| segment.address() + (in_file - start))
        })
    };
    let mut wanted: Vec<(u64, u64)> = wanted
        .iter()
        .filter_map(|(in_file, address)| Some((in_memory(*in_file)?, *address)))
        .collect();
    wanted.sort_unstable();
    for symbol in elf.symbols().chain(elf.dynamic_symbols()) {
        if symbol.kind() != SymbolKind::Text || symbol.size() == 0 {
            continue;
        }
        let end = symbol.address().saturating_add(symbol.size());
        let first = wanted.partition_point(|(place, _)| *place < symbol.address());
        for (_, address) in wanted[first..].iter().take_while(|(place, _)| *place < end) {
            if let Ok(name) = symbol.name() {
                found.entry(*address).or_insert_with(|| name.to_owned());
            }
        }
    }
    found
}

/// A name longer than this loses what is in its angle brackets, then its end.
const LONG: usize = 100;
const LONGEST: usize = 200;

/// Demangled, without the hash, and short enough to read.
fn readable(symbol: &str) -> String {
    let name = format!("{:#}", rustc_demangle::demangle(symbol));
    if name.chars().count() <= LONG {
        return name;
    }
    let mut short = without_parameters(&name);
    if let Some((end, _)) = short.char_indices().nth(LONGEST) {
        short.truncate(end);
        short.push('…');
    }
    short
}

/// `<A<B> as C<D>>::e::<F>` to `<A<…> as C<…>>::e::<…>`.
fn without_parameters(name: &str) -> String {
    let mut short = String::new();
    // How many brackets are open of which the content is shown, and how many where it is not.
    let (mut shown, mut hidden) = (0_usize, 0_usize);
    let mut before = ' ';
    for character in name.chars() {
        match character {
            '<' if hidden == 0
                && shown == 0
                && !matches!(before, ':' | 'a'..='z' | 'A'..='Z' | '0'..='9' | '_') =>
            {
                shown += 1;
                short.push('<');
            }
            '<' => {
                if hidden == 0 {
                    short.push_str("<…");
                }
                hidden += 1;
            }
            // Not the arrow of a function's result.
            '>' if before != '-' && hidden > 0 => {
                hidden -= 1;
                if hidden == 0 {
                    short.push('>');
                }
            }
            '>' if before != '-' && shown > 0 => {
                shown -= 1;
                short.push('>');
            }
            other if hidden == 0 => short.push(other),
            _ => {}
        }
        before = character;
    }
    short
}

#[cfg(test)]
mod tests {
    use super::*;

    #[inline(never)]
    fn somewhere() -> u64 {
        std::hint::black_box(somewhere as *const () as u64)
    }

    #[test]
    fn a_function_of_this_program_is_found_by_name() {
        let mut symbols = Symbols::default();
        let address = somewhere() + 1;
        symbols.resolve([address]);
        let (module, function) = symbols.place(address).unwrap();
        let name = &symbols.function_at(function).unwrap().name;
        assert!(name.ends_with("symbols::tests::somewhere"), "{name}");
        let module = symbols.module_at(module).unwrap();
        assert_eq!(Some((module.start, module.end)), code_around(address));
    }

    #[test]
    fn what_is_not_code_has_no_place() {
        let mut symbols = Symbols::default();
        let variable = 0_u64;
        let addresses = [8, u64::MAX, (&raw const variable) as u64];
        symbols.resolve(addresses);
        for address in addresses {
            assert_eq!(symbols.place(address), None);
        }
    }

    #[test]
    fn lines_of_the_map_are_read() {
        let line = "7f1c2000-7f1c5000 r-xp 00028000 08:01 1234    /opt/with space/libc.so.6";
        let expected = Module {
            start: 0x7f1c_2000,
            end: 0x7f1c_5000,
            offset: 0x28000,
            path: "/opt/with space/libc.so.6".to_owned(),
        };
        assert_eq!(module(line), Some(expected));
        for other in [
            "7f1c2000-7f1c5000 rw-p 00028000 08:01 1234    /lib/libc.so.6",
            "7f1c2000-7f1c5000 r-xp 00000000 00:00 0",
            "",
            "garbage",
        ] {
            assert_eq!(module(other), None, "{other}");
        }
    }

    #[test]
    fn long_names_lose_their_parameters() {
        assert_eq!(
            without_parameters("<a::B<C<D>> as e::F<fn(G) -> H>>::call::<I, J<K>>"),
            "<a::B<…> as e::F<…>>::call::<…>"
        );
        assert_eq!(
            without_parameters("a::b<c>::{closure#0}"),
            "a::b<…>::{closure#0}"
        );
        let long = format!("_ZN{}{}17h0123456789abcdefE", 300, "x".repeat(300));
        let name = readable(&long);
        assert_eq!(name.chars().count(), LONGEST + 1, "{name}");
        assert_eq!(
            readable("_ZN5users4work4spin17h0123456789abcdefE"),
            "users::work::spin"
        );
        assert_eq!(readable("memcpy"), "memcpy");
    }
}
