//! Rust's text as tokens, as far as these rules need it: comments are gone, strings are one token each.

/// A token and the line where it begins.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Token {
    pub kind: Kind,
    pub line: usize,
}

#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Kind {
    /// A name, a keyword or a number.
    Word(String),
    /// What stands between the quotes of a string, as it is written.
    Text(String),
    Mark(char),
    /// A character or a lifetime.
    Other,
}

impl Token {
    pub(crate) fn word(&self) -> Option<&str> {
        match &self.kind {
            Kind::Word(word) => Some(word),
            _ => None,
        }
    }

    pub(crate) fn text(&self) -> Option<&str> {
        match &self.kind {
            Kind::Text(text) => Some(text),
            _ => None,
        }
    }

    pub(crate) fn is(&self, mark: char) -> bool {
        self.kind == Kind::Mark(mark)
    }
}

/// The tokens of a file.
pub(crate) fn tokens(text: &str) -> Vec<Token> {
    let chars: Vec<char> = text.chars().collect();
    let mut lexer = Lexer { chars: &chars, at: 0, line: 1 };
    let mut tokens = Vec::new();
    while let Some(token) = lexer.next_token() {
        tokens.push(token);
    }
    tokens
}

struct Lexer<'a> {
    chars: &'a [char],
    at: usize,
    line: usize,
}

impl Lexer<'_> {
    fn peek(&self, ahead: usize) -> char {
        self.chars.get(self.at + ahead).copied().unwrap_or('\0')
    }

    fn step(&mut self) -> char {
        let char = self.peek(0);
        self.line += usize::from(char == '\n');
        self.at += 1;
        char
    }

    fn next_token(&mut self) -> Option<Token> {
        loop {
            if self.at >= self.chars.len() {
                return None;
            }
            match (self.peek(0), self.peek(1)) {
                ('/', '/') => {
                    while self.at < self.chars.len() && self.peek(0) != '\n' {
                        self.step();
                    }
                }
                ('/', '*') => self.skip_block(),
                (char, _) if char.is_whitespace() => drop(self.step()),
                _ => break,
            }
        }
        let line = self.line;
        let kind = match self.peek(0) {
            '"' => Kind::Text(self.string(0, false)),
            '\'' => self.character(),
            char if char.is_alphanumeric() || char == '_' => self.name(),
            _ => Kind::Mark(self.step()),
        };
        Some(Token { kind, line })
    }

    fn skip_block(&mut self) {
        let mut depth = 0;
        while self.at < self.chars.len() {
            match (self.peek(0), self.peek(1)) {
                ('/', '*') => depth += 1,
                ('*', '/') => depth -= 1,
                _ => {
                    self.step();
                    continue;
                }
            }
            self.at += 2;
            if depth == 0 {
                return;
            }
        }
    }

    /// From the opening quote, with so many `#` before it, to what closes it.
    fn string(&mut self, hashes: usize, raw: bool) -> String {
        self.step();
        let mut text = String::new();
        while self.at < self.chars.len() {
            let char = self.step();
            if char == '"' && (0..hashes).all(|ahead| self.peek(ahead) == '#') {
                self.at += hashes;
                break;
            }
            text.push(char);
            if char == '\\' && !raw {
                text.push(self.step());
            }
        }
        text
    }

    fn character(&mut self) -> Kind {
        self.step();
        if self.peek(0) == '\\' {
            self.step();
            self.step();
            while self.at < self.chars.len() && self.step() != '\'' {}
        } else if self.peek(1) == '\'' {
            self.step();
            self.step();
        }
        // Else a lifetime, whose name is the next word.
        Kind::Other
    }

    fn name(&mut self) -> Kind {
        let start = self.at;
        while self.peek(0).is_alphanumeric() || self.peek(0) == '_' {
            self.step();
        }
        let word: String = self.chars[start..self.at].iter().collect();
        let raw = matches!(word.as_str(), "r" | "br" | "cr");
        let hashes = (0..).take_while(|ahead| self.peek(*ahead) == '#').count();
        if raw && self.peek(hashes) == '"' {
            self.at += hashes;
            return Kind::Text(self.string(hashes, true));
        }
        if matches!(word.as_str(), "b" | "c") && self.peek(0) == '"' {
            return Kind::Text(self.string(0, false));
        }
        if word == "b" && self.peek(0) == '\'' {
            return self.character();
        }
        Kind::Word(word)
    }
}

/// The tokens that are built into the product: items that only tests or fuzz targets build are left out.
pub(crate) fn product(tokens: &[Token]) -> Vec<Token> {
    let mut kept = Vec::new();
    let mut at = 0;
    while at < tokens.len() {
        match attribute(tokens, at) {
            Some((end, true)) => at = item_end(tokens, end),
            Some((end, false)) => {
                kept.extend_from_slice(&tokens[at..end]);
                at = end;
            }
            None => {
                kept.push(tokens[at].clone());
                at += 1;
            }
        }
    }
    kept
}

/// Where the outer attribute that begins here ends, and whether it keeps its item for tests.
pub(crate) fn attribute(tokens: &[Token], at: usize) -> Option<(usize, bool)> {
    if !tokens[at].is('#') || !tokens.get(at + 1)?.is('[') {
        return None;
    }
    let end = closing(tokens, at + 1)?;
    let words: Vec<&str> = tokens[at..end].iter().filter_map(Token::word).collect();
    let kept_for_tests = match &words[..] {
        ["cfg", rest @ ..] => rest.contains(&"test") && !rest.contains(&"not"),
        _ => false,
    };
    Some((end + 1, kept_for_tests))
}

/// The token that closes the bracket that opens here.
pub(crate) fn closing(tokens: &[Token], open: usize) -> Option<usize> {
    let mut depth = 0;
    for (at, token) in tokens.iter().enumerate().skip(open) {
        match token.kind {
            Kind::Mark('(' | '[' | '{') => depth += 1,
            Kind::Mark(')' | ']' | '}') => depth -= 1,
            _ => {}
        }
        if depth == 0 {
            return Some(at);
        }
    }
    None
}

/// The token after the item that begins here: after its `;` or its braces.
fn item_end(tokens: &[Token], start: usize) -> usize {
    const ITEMS: [&str; 14] = [
        "async",
        "const",
        "enum",
        "extern",
        "fn",
        "impl",
        "macro_rules",
        "mod",
        "static",
        "struct",
        "trait",
        "type",
        "unsafe",
        "use",
    ];
    let mut at = start;
    while let Some((end, _)) = tokens.get(at).and_then(|_| attribute(tokens, at)) {
        at = end;
    }
    if tokens.get(at).and_then(Token::word) == Some("pub") {
        let scope = tokens.get(at + 1).is_some_and(|token| token.is('('));
        at = if scope { closing(tokens, at + 1).unwrap_or(at) + 1 } else { at + 1 };
    }
    let item = tokens.get(at).and_then(Token::word).is_some_and(|word| ITEMS.contains(&word));
    while at < tokens.len() {
        match tokens[at].kind {
            Kind::Mark(';') => return at + 1,
            // A field, a variant or an argument ends with a comma or with what it stands in.
            Kind::Mark(',') if !item => return at + 1,
            Kind::Mark('}' | ')') => return at,
            Kind::Mark('{') => return closing(tokens, at).map_or(tokens.len(), |end| end + 1),
            Kind::Mark('(' | '[') => at = closing(tokens, at).unwrap_or(tokens.len()),
            _ => {}
        }
        at += 1;
    }
    at
}

#[cfg(test)]
mod tests {
    use super::*;

    fn told(tokens: &[Token]) -> String {
        let words = tokens.iter().map(|token| match &token.kind {
            Kind::Word(word) => word.clone(),
            Kind::Text(text) => format!("<{text}>"),
            Kind::Mark(mark) => mark.to_string(),
            Kind::Other => "·".to_owned(),
        });
        words.collect::<Vec<_>>().join(" ")
    }

    #[test]
    fn comments_are_gone_and_strings_are_whole() {
        let rust = r###"// a "quote
            let a = "x // \" y"; /* one /* two */ 'still */ b'\'' 'c' '"' r#"raw " \"# br"z" b"w" &'static str"###;
        assert_eq!(told(&tokens(rust)), r#"let a = <x // \" y> ; · · · <raw " \> <z> <w> & · static str"#);
    }

    #[test]
    fn lines_are_counted_through_strings_and_comments() {
        let lines: Vec<usize> = tokens("a\n/* \n */ b \"\n\" c").iter().map(|token| token.line).collect();
        assert_eq!(lines, [1, 3, 3, 4]);
    }

    #[test]
    fn what_only_tests_build_is_left_out() {
        let rust = "fn a() {} #[cfg(test)] #[path = \"x\"] mod tests; #[cfg(any(test, fuzzing))] pub fn b<C, D>(c: [u8; 2]) { d } \
                    struct E { #[cfg(test)] f: u8, g: u8 } #[cfg(not(test))] fn h() {}";
        assert_eq!(
            told(&product(&tokens(rust))),
            "fn a ( ) { } struct E { g : u8 } # [ cfg ( not ( test ) ) ] fn h ( ) { }"
        );
    }
}
