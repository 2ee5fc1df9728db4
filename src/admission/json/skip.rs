//! How long a value is, without a look at what it says.

/// Bytes that are looked at together.
const BLOCK: usize = 64;

/// Length of the string that begins the text, with its quotes. `None` if it doesn't end.
pub(super) fn string(text: &[u8]) -> Option<usize> {
    for block in Blocks::new(text) {
        // The first quote begins it.
        let quotes = if block.at == 0 { block.quotes & (block.quotes - 1) } else { block.quotes };
        if quotes != 0 {
            return Some(block.at + quotes.trailing_zeros() as usize + 1);
        }
    }
    None
}

/// Length of the object or list that begins the text. `None` if it doesn't end.
pub(super) fn nest(text: &[u8]) -> Option<usize> {
    let mut depth = 0;
    // All ones from a quote that begins a string to the one that ends it.
    let mut in_string = 0;
    for block in Blocks::new(text) {
        let strings = between(block.quotes) ^ in_string;
        in_string = if strings >> (BLOCK - 1) == 1 { u64::MAX } else { 0 };
        // Each kind of bracket differs from the other kind in this one bit.
        let opening = marks(&block.bytes, |byte| byte | 0x20 == b'{') & !strings;
        let closing = marks(&block.bytes, |byte| byte | 0x20 == b'}') & !strings;
        if closing.count_ones() < depth {
            depth = depth + opening.count_ones() - closing.count_ones();
            continue;
        }
        let mut brackets = opening | closing;
        while brackets != 0 {
            let lowest = brackets & brackets.wrapping_neg();
            if opening & lowest != 0 {
                depth += 1;
            } else if depth > 1 {
                depth -= 1;
            } else {
                return Some(block.at + lowest.trailing_zeros() as usize + 1);
            }
            brackets ^= lowest;
        }
    }
    None
}

/// Length of the number, truth value or null that begins the text.
pub(super) fn scalar(text: &[u8]) -> Option<usize> {
    let ends = |byte: &u8| matches!(byte, b',' | b'}' | b']' | b' ' | b'\n' | b'\r' | b'\t');
    Some(text.iter().position(ends).unwrap_or(text.len()))
}

struct Block {
    /// Where it begins.
    at: usize,
    /// The last one is filled up with spaces.
    bytes: [u8; BLOCK],
    /// Quotes that begin or end a string: bit n is byte n.
    quotes: u64,
}

struct Blocks<'a> {
    text: &'a [u8],
    at: usize,
    /// Whether the last byte so far escapes the next one.
    escapes: bool,
}

impl<'a> Blocks<'a> {
    const fn new(text: &'a [u8]) -> Self {
        Self { text, at: 0, escapes: false }
    }

    /// Bytes that stand behind an odd number of backslashes. (An even number escapes itself.)
    fn escaped(&mut self, backslashes: u64) -> u64 {
        let mut escaped = u64::from(self.escapes);
        let mut left = backslashes & !escaped;
        self.escapes = false;
        while left != 0 {
            let lowest = left & left.wrapping_neg();
            let next = lowest << 1;
            self.escapes = next == 0;
            escaped |= next;
            // An escaped backslash escapes nothing.
            left &= !(lowest | next);
        }
        escaped
    }
}

impl Iterator for Blocks<'_> {
    type Item = Block;

    #[inline]
    fn next(&mut self) -> Option<Block> {
        let rest = &self.text[self.at..];
        let bytes = match rest.first_chunk::<BLOCK>() {
            Some(whole) => *whole,
            None if rest.is_empty() => return None,
            None => {
                let mut bytes = [b' '; BLOCK];
                bytes[..rest.len()].copy_from_slice(rest);
                bytes
            }
        };
        let mut quotes = marks(&bytes, |byte| byte == b'"');
        let backslashes = marks(&bytes, |byte| byte == b'\\');
        if backslashes != 0 || self.escapes {
            quotes &= !self.escaped(backslashes);
        }
        let block = Block { at: self.at, bytes, quotes };
        self.at += rest.len().min(BLOCK);
        Some(block)
    }
}

/// Bit n is whether byte n is one that is looked for. Compilers make few instructions of it, whatever the machine.
#[inline]
fn marks(bytes: &[u8; BLOCK], is: impl Fn(u8) -> bool) -> u64 {
    let bits: [u8; BLOCK] = std::array::from_fn(|n| if is(bytes[n]) { 1 << (n % 8) } else { 0 });
    bits.as_chunks::<8>().0.iter().rev().fold(0, |marks, eight| {
        // The greatest byte of the product is the sum of all eight, of which no two have a bit in common.
        marks << 8 | u64::from_le_bytes(*eight).wrapping_mul(0x0101_0101_0101_0101) >> 56
    })
}

/// Bit n is whether an odd number of the given bits stands at or below it.
#[inline]
const fn between(bits: u64) -> u64 {
    let mut odd = bits;
    odd ^= odd << 1;
    odd ^= odd << 2;
    odd ^= odd << 4;
    odd ^= odd << 8;
    odd ^= odd << 16;
    odd ^ odd << 32
}
