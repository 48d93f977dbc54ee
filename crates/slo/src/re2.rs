//! Whether Prometheus takes a regular expression. Its grammar is that of RE2, as Go's package
//! `regexp/syntax` reads it: close to that of the crate `regex-syntax`, and different in what people
//! write (`/user/{name}` is text) and in what keeps a whole Prometheus from starting (`(?x)`).
//!
//! The grammar: <https://github.com/google/re2/wiki/Syntax>, without what is marked as not
//! supported. What differs between versions of Go (`(?<name>)` came with 1.22, names of Unicode's
//! scripts) and the limit on the size of a compiled expression are left to promtool.

/// The most repetitions, nested ones multiplied.
const MAX_REPEAT: u64 = 1_000;
/// The most groups within each other.
const MAX_DEPTH: usize = 1_000;
const POSIX: [&str; 14] = [
    "alnum", "alpha", "ascii", "blank", "cntrl", "digit", "graph", "lower", "print", "punct",
    "space", "upper", "word", "xdigit",
];
/// Scripts are known by their names, not by their codes of four letters (`Grek`). These are names.
const SCRIPTS_OF_FOUR_LETTERS: [&str; 9] = [
    "ahom", "cham", "kawi", "lisu", "miao", "modi", "newa", "thai", "toto",
];

/// Why it is refused.
pub(crate) fn check(pattern: &str) -> Result<(), String> {
    let mut parser = Parser {
        rest: pattern,
        outer: Vec::new(),
        level: Level::default(),
    };
    let mut repeated = false;
    while let Some(c) = parser.peek() {
        repeated = parser.step(c, repeated)?;
    }
    if parser.outer.is_empty() {
        Ok(())
    } else {
        Err("`(` has no `)`".to_owned())
    }
}

struct Parser<'a> {
    rest: &'a str,
    outer: Vec<Level>,
    level: Level,
}

/// What was read of a group.
#[derive(Default)]
struct Level {
    /// How often what can be repeated next repeats what is in it; nothing at a beginning.
    operand: Option<u64>,
    /// The most of those before.
    most: u64,
}

impl Level {
    fn push(&mut self, repeats: u64) {
        self.most = self.total();
        self.operand = Some(repeats);
    }

    fn total(&self) -> u64 {
        self.most.max(self.operand.unwrap_or(1))
    }
}

impl<'a> Parser<'a> {
    fn peek(&self) -> Option<char> {
        self.rest.chars().next()
    }

    fn bump(&mut self) -> Option<char> {
        let c = self.peek()?;
        self.rest = &self.rest[c.len_utf8()..];
        Some(c)
    }

    fn eat(&mut self, token: &str) -> bool {
        let rest = self.rest.strip_prefix(token);
        self.rest = rest.unwrap_or(self.rest);
        rest.is_some()
    }

    /// The text until `end`, which is skipped.
    fn until(&mut self, end: &str) -> Option<&'a str> {
        let (text, rest) = self.rest.split_once(end)?;
        self.rest = rest;
        Some(text)
    }

    /// What was read since `begin`, and what is wrong with it.
    fn wrong<T>(&self, begin: &str, why: &str) -> Result<T, String> {
        let length = begin.len() - self.rest.len();
        Err(format!("`{}` {why}", &begin[..length]))
    }

    /// Reads what begins with `c`; says whether that repeats something.
    fn step(&mut self, c: char, repeated: bool) -> Result<bool, String> {
        let begin = self.rest;
        match c {
            '(' => self.open()?,
            ')' => {
                let Some(outer) = self.outer.pop() else {
                    return Err("`)` has no `(`".to_owned());
                };
                let inner = std::mem::replace(&mut self.level, outer);
                self.level.push(inner.total());
                self.bump();
            }
            '|' => {
                self.level.most = self.level.total();
                self.level.operand = None;
                self.bump();
            }
            '[' => self.class()?,
            '\\' => self.escape()?,
            '*' | '+' | '?' => {
                self.bump();
                self.repeat(begin, repeated, 1)?;
                return Ok(true);
            }
            '{' => {
                if let Some((min, max)) = self.counts() {
                    let highest = max.unwrap_or(min);
                    if min > MAX_REPEAT || highest > MAX_REPEAT || min > highest {
                        return self.wrong(begin, "expected at most 1000 repetitions");
                    }
                    // One that is repeated no times at all is as if it were not there.
                    if highest == 0 && max.is_some() {
                        self.level.operand = self.level.operand.map(|_| 1);
                    }
                    self.repeat(begin, repeated, highest.max(1))?;
                    return Ok(true);
                }
                self.bump();
                self.level.push(1);
            }
            _ => {
                self.bump();
                self.level.push(1);
            }
        }
        Ok(false)
    }

    fn repeat(&mut self, begin: &str, repeated: bool, times: u64) -> Result<(), String> {
        self.eat("?");
        if repeated {
            return self.wrong(begin, "repeats a repetition");
        }
        let Some(inner) = self.level.operand else {
            return self.wrong(begin, "has nothing before it to repeat");
        };
        let product = inner.saturating_mul(times);
        if times > 1 && product > MAX_REPEAT {
            return self.wrong(
                begin,
                "expected at most 1000 repetitions, nested ones multiplied",
            );
        }
        self.level.operand = Some(product);
        Ok(())
    }

    /// `{2}`, `{2,}` or `{2,5}`; anything else is text.
    fn counts(&mut self) -> Option<(u64, Option<u64>)> {
        let (inner, rest) = self.rest.strip_prefix('{')?.split_once('}')?;
        let number = |text: &str| {
            let digits = !text.is_empty() && text.bytes().all(|c| c.is_ascii_digit());
            let leading_zero = text.len() > 1 && text.starts_with('0');
            (digits && !leading_zero).then(|| text.parse().unwrap_or(u64::MAX))
        };
        let counts = match inner.split_once(',') {
            None => {
                let count = number(inner)?;
                (count, Some(count))
            }
            Some((min, "")) => (number(min)?, None),
            Some((min, max)) => (number(min)?, Some(number(max)?)),
        };
        self.rest = rest;
        Some(counts)
    }

    fn open(&mut self) -> Result<(), String> {
        let begin = self.rest;
        self.eat("(");
        if self.eat("?") {
            if self.eat("P<") || self.eat("<") {
                let name = self.until(">").unwrap_or_default();
                if name.is_empty() || !name.bytes().all(|c| c.is_ascii_alphanumeric() || c == b'_')
                {
                    return self.wrong(begin, "expected a name, as in `(?P<name>`");
                }
            } else if !self.flags(begin)? {
                return Ok(());
            }
        }
        if self.outer.len() >= MAX_DEPTH {
            return Err("more than 1000 groups are within each other".to_owned());
        }
        self.outer.push(std::mem::take(&mut self.level));
        Ok(())
    }

    /// After `(?`; whether a group follows.
    fn flags(&mut self, begin: &str) -> Result<bool, String> {
        let (mut negated, mut some) = (false, false);
        loop {
            match self.bump() {
                Some('i' | 'm' | 's' | 'U') => some = true,
                Some('-') if !negated => (negated, some) = (true, false),
                Some(end @ (':' | ')')) if some || !negated => return Ok(end == ':'),
                _ => return self.wrong(begin, "expected a group or one of the flags i, m, s, U"),
            }
        }
    }

    fn escape(&mut self) -> Result<(), String> {
        let second = self.rest[1..].chars().next();
        match second {
            Some('A' | 'b' | 'B' | 'z') => self.rest = &self.rest[2..],
            Some('Q') => {
                self.rest = &self.rest[2..];
                // Prometheus puts the expression between `^(?s:` and `)$`, which it would swallow.
                let Some(quoted) = self.until("\\E") else {
                    return Err("`\\Q` has no `\\E`".to_owned());
                };
                if quoted.is_empty() {
                    return Ok(());
                }
            }
            _ => {
                if !self.several()? {
                    self.one()?;
                }
            }
        }
        self.level.push(1);
        Ok(())
    }

    /// An escape that stands for many characters, if there is one.
    fn several(&mut self) -> Result<bool, String> {
        let begin = self.rest;
        let mut chars = self.rest.chars();
        if chars.next() != Some('\\') {
            return Ok(false);
        }
        match chars.next() {
            Some('d' | 'D' | 's' | 'S' | 'w' | 'W') => {
                self.rest = chars.as_str();
                Ok(true)
            }
            Some('p' | 'P') => {
                self.rest = chars.as_str();
                let letter = self.rest;
                let name = match self.bump() {
                    Some('{') => self.until("}").unwrap_or_default(),
                    Some(c) => &letter[..c.len_utf8()],
                    None => "",
                };
                if is_unicode_class(name.strip_prefix('^').unwrap_or(name)) {
                    Ok(true)
                } else {
                    self.wrong(
                        begin,
                        "expected one of Unicode's categories or scripts, as in `\\p{Greek}`",
                    )
                }
            }
            _ => Ok(false),
        }
    }

    /// An escape that stands for one character.
    fn one(&mut self) -> Result<u32, String> {
        const OCTAL: std::ops::RangeInclusive<char> = '0'..='7';
        let begin = self.rest;
        self.eat("\\");
        let octal = |c: Option<char>| c.filter(|c| OCTAL.contains(c)).and_then(|c| c.to_digit(8));
        let c = self.bump();
        match c {
            Some('a') => return Ok(7),
            Some('t') => return Ok(9),
            Some('n') => return Ok(10),
            Some('v') => return Ok(11),
            Some('f') => return Ok(12),
            Some('r') => return Ok(13),
            Some('x') => {
                if let Some(code) = self.hexadecimal() {
                    return Ok(code);
                }
            }
            // One digit would refer back to a group.
            Some(digit @ '0'..='7') if digit == '0' || octal(self.peek()).is_some() => {
                let mut code = octal(c).unwrap_or_default();
                for _ in 0..2 {
                    let Some(digit) = octal(self.peek()) else {
                        break;
                    };
                    self.bump();
                    code = code * 8 + digit;
                }
                return Ok(code);
            }
            Some(c) if c.is_ascii() && !c.is_ascii_alphanumeric() => return Ok(c.into()),
            _ => {}
        }
        self.wrong(begin, "is no escape of RE2")
    }

    /// After `\x`: two digits, or any number of them in braces.
    fn hexadecimal(&mut self) -> Option<u32> {
        let digits = if self.eat("{") {
            self.until("}")?
        } else {
            let digits = self.rest.get(..2)?;
            self.rest = &self.rest[2..];
            digits
        };
        // A sign would be read as well.
        let hexadecimal = digits.bytes().all(|c| c.is_ascii_hexdigit());
        let code = u32::from_str_radix(digits, 16).ok();
        code.filter(|code| hexadecimal && *code <= u32::from(char::MAX))
    }

    fn class(&mut self) -> Result<(), String> {
        let begin = self.rest;
        self.eat("[");
        self.eat("^");
        let mut first = true;
        while first || !self.eat("]") {
            first = false;
            let item = self.rest;
            if self.rest.starts_with("[:") && self.rest[2..].contains(":]") {
                self.rest = &self.rest[2..];
                let name = self.until(":]").unwrap_or_default();
                if !POSIX.contains(&name.strip_prefix('^').unwrap_or(name)) {
                    return self.wrong(item, "is no class of characters");
                }
                continue;
            }
            if self.several()? {
                continue;
            }
            let low = self.character(begin)?;
            let is_range =
                self.rest.starts_with('-') && self.rest.len() > 1 && !self.rest.starts_with("-]");
            if is_range {
                self.bump();
                if self.character(begin)? < low {
                    return self.wrong(item, "is a range from high to low");
                }
            }
        }
        self.level.push(1);
        Ok(())
    }

    fn character(&mut self, class: &str) -> Result<u32, String> {
        match self.peek() {
            None => self.wrong(class, "has no `]`"),
            Some('\\') => self.one(),
            Some(c) => {
                self.bump();
                Ok(c.into())
            }
        }
    }
}

fn is_unicode_class(name: &str) -> bool {
    let name: String = name
        .chars()
        .filter(|c| !matches!(c, '_' | '-' | ' '))
        .collect::<String>()
        .to_ascii_lowercase();
    // The crate knows no surrogates.
    if matches!(name.as_str(), "cs" | "surrogate") {
        return true;
    }
    let known = |kind: &str| regex_syntax::parse(&format!("\\p{{{kind}={name}}}")).is_ok();
    let letters = !name.is_empty() && name.bytes().all(|c| c.is_ascii_lowercase());
    // The prefix `is` is allowed there.
    letters
        && !name.starts_with("is")
        && (known("gc")
            || (name.len() != 4 || SCRIPTS_OF_FOUR_LETTERS.contains(&name.as_str())) && known("sc"))
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Go 1.26 says the same of each, alone and between `^(?s:` and `)$`.
    #[test]
    fn what_go_takes() {
        let taken = r"
            /user/{name} a{,3} a{ a{01} a{1,2 { } ] a| | () ^* \b+ a{1000} (a{2}){500}
            (a{20}b{50}){20} (a{1000}){0,1} ((a{1000}){0}){900} (a{1000}){0,} a*? a{2}? a(?i)*
            a*(?i)* a*\Q\E+ (?i)a (?imsU-s)a (?i-s:a) (?) (?P<n_1>a) (?<n>a) (?P<n>a)(?P<n>b)
            \Qa.(*\E \a\f\n\r\t\v \0 \12 \777 \x7F \x{10FFFF} \x{00000000041} \x{D800} \A\b\B\z
            \d\D\s\S\w\W \pN \PL \p{Greek} \p{^Greek} \p{greek} \p{Letter} \p{Any} \p{Lisu}
            \p{Cs} []a] [^]a] [a-] [-a] [a-b-c] [\d-z] [a&&b] [+--] [[a] [[:alpha:][:^digit:]]
            \_\-\/\< [[:alpha] [:foo:] [\pL\d\x41-\x43] é 5..|4[0-9]{2}
        ";
        for pattern in taken.split_whitespace().chain(["", "\\ ", "\n"]) {
            assert_eq!(check(pattern), Ok(()), "{pattern}");
        }
    }

    #[test]
    fn what_go_refuses() {
        for (pattern, why) in [
            (
                "(?x)",
                "`(?x` expected a group or one of the flags i, m, s, U",
            ),
            ("(?=a)", "`(?=` expected a group"),
            ("(?<=a)", "`(?<` expected a name"),
            ("(?P<>a)", "`(?P<>` expected a name"),
            ("(?P=n)", "`(?P` expected a group"),
            ("(?>a)", "`(?>` expected a group"),
            ("(?i-)", "`(?i-)` expected a group"),
            ("(?--i)", "`(?--` expected a group"),
            ("(?i", "`(?i` expected a group"),
            ("a{1001}", "`{1001}` expected at most 1000 repetitions"),
            ("a{99999999999999999999}", "expected at most 1000"),
            ("a{3,2}", "`{3,2}` expected"),
            ("(a{2}){501}", "nested ones multiplied"),
            (
                "((a{10}){10}){11}",
                "`{11}` expected at most 1000 repetitions, nested",
            ),
            ("(a{2}|b{600}){2,}", "nested ones multiplied"),
            ("a**", "`*` repeats a repetition"),
            ("a{2}{3}", "`{3}` repeats a repetition"),
            ("a*??", "`?` repeats a repetition"),
            ("*", "`*` has nothing before it"),
            ("a|+", "`+` has nothing before it"),
            ("({2})", "`{2}` has nothing before it"),
            ("(?i)*", "`*` has nothing before it"),
            ("(a", "`(` has no `)`"),
            ("a)", "`)` has no `(`"),
            ("a)(b", "`)` has no `(`"),
            ("\\Qa", "`\\Q` has no `\\E`"),
            ("\\u0041", "`\\u` is no escape of RE2"),
            ("\\1", "`\\1` is no escape"),
            ("\\8", "`\\8` is no escape"),
            ("\\C", "`\\C` is no escape"),
            ("\\Z", "`\\Z` is no escape"),
            ("\\e", "`\\e` is no escape"),
            ("\\é", "`\\é` is no escape"),
            ("a\\", "`\\` is no escape"),
            ("\\x", "`\\x` is no escape"),
            ("\\xG1", "`\\xG1` is no escape"),
            ("\\x{}", "`\\x{}` is no escape"),
            ("\\x{+1}", "is no escape"),
            ("\\x{110000}", "`\\x{110000}` is no escape"),
            ("\\p", "expected one of Unicode's"),
            ("\\p{Grek}", "`\\p{Grek}` expected one of Unicode's"),
            ("\\p{Alphabetic}", "expected one of Unicode's"),
            ("\\p{sc=Greek}", "expected one of Unicode's"),
            ("\\p{isGreek}", "expected one of Unicode's"),
            ("[]", "`[]` has no `]`"),
            ("[^]", "`[^]` has no `]`"),
            ("[a", "`[a` has no `]`"),
            ("[z-a]", "`z-a` is a range from high to low"),
            ("[a-\\d]", "`\\d` is no escape"),
            ("[\\b]", "`\\b` is no escape"),
            ("[[:foo:]]", "`[:foo:]` is no class"),
        ] {
            let error = check(pattern).expect_err(pattern);
            assert!(error.contains(why), "{pattern}: {error}");
        }
    }

    #[test]
    fn groups_within_each_other_are_bounded() {
        let nested = |depth| format!("{}a{}", "(".repeat(depth), ")".repeat(depth));
        assert_eq!(check(&nested(900)), Ok(()));
        let error = check(&nested(100_000)).unwrap_err();
        assert!(error.contains("more than 1000 groups"), "{error}");
    }
}
