//! How long a value is, without a look at what it says.

/// Bytes of a nest that are looked at together.
const BLOCK: usize = 64;

/// Length of the string that begins the text, with its quotes, and whether it has escapes. `None` if it doesn't end.
#[inline]
pub(super) fn string(text: &[u8]) -> Option<(usize, bool)> {
    let mut escapes = false;
    let mut at = 1;
    loop {
        at += special(text.get(at..)?)?;
        if text[at] == b'"' {
            return Some((at + 1, escapes));
        }
        escapes = true;
        at += 2;
    }
}

/// Where the first quote or backslash is.
#[inline]
fn special(text: &[u8]) -> Option<usize> {
    const ONES: u64 = u64::from_ne_bytes([1; 8]);
    const QUOTES: u64 = u64::from_ne_bytes([b'"'; 8]);
    const BACKSLASHES: u64 = u64::from_ne_bytes([b'\\'; 8]);
    // The top bit of each byte that is zero; above the first such byte it may be wrong.
    let zeros = |eight: u64| eight.wrapping_sub(ONES) & !eight & ONES << 7;
    let (eights, rest) = text.as_chunks::<8>();
    for (n, eight) in eights.iter().enumerate() {
        let eight = u64::from_le_bytes(*eight);
        let found = zeros(eight ^ QUOTES) | zeros(eight ^ BACKSLASHES);
        if found != 0 {
            return Some(8 * n + found.trailing_zeros() as usize / 8);
        }
    }
    let at = rest.iter().position(|byte| matches!(byte, b'"' | b'\\'))?;
    Some(8 * eights.len() + at)
}

/// Length of the object or list that begins the text. `None` if it doesn't end.
pub(super) fn nest(text: &[u8]) -> Option<usize> {
    let mut depth = 0_usize;
    // All ones from a quote that begins a string to the one that ends it.
    let mut in_string = 0;
    let mut escapes = false;
    for (n, piece) in text.chunks(BLOCK).enumerate() {
        let mut filled = [b' '; BLOCK];
        let block = piece.try_into().unwrap_or_else(|_| {
            filled[..piece.len()].copy_from_slice(piece);
            &filled
        });
        let quotes = marks(block, |byte| byte == b'"') & !escaped(block, &mut escapes);
        let strings = odd_up_to(quotes) ^ in_string;
        in_string = if strings >> (BLOCK - 1) == 1 { u64::MAX } else { 0 };
        // 0x20 is what square ones lack, and 4 what closing ones have.
        let mut brackets = marks(block, |byte| matches!(byte | 0x20, b'{' | b'}')) & !strings;
        while brackets != 0 {
            let at = brackets.trailing_zeros() as usize;
            depth = if block[at] & 4 == 0 { depth + 1 } else { depth - 1 };
            if depth == 0 {
                return Some(BLOCK * n + at + 1);
            }
            brackets &= brackets - 1;
        }
    }
    None
}

/// Length of the number, truth value or null that begins the text.
pub(super) fn scalar(text: &[u8]) -> usize {
    let ends = |byte: &u8| matches!(byte, b',' | b'}' | b']' | b' ' | b'\n' | b'\r' | b'\t');
    text.iter().position(ends).unwrap_or(text.len())
}

/// Bytes that stand behind an odd number of backslashes. (An even number escapes itself.) `escapes` is whether the last
/// byte of a block escapes the first one of the next.
#[inline]
fn escaped(block: &[u8; BLOCK], escapes: &mut bool) -> u64 {
    // Most blocks have none, and to see that costs less.
    let any = block.iter().fold(false, |any, &byte| any | (byte == b'\\'));
    if !any && !*escapes {
        return 0;
    }
    let mut escaped = u64::from(std::mem::take(escapes));
    let mut left = marks(block, |byte| byte == b'\\') & !escaped;
    while left != 0 {
        let lowest = left & left.wrapping_neg();
        let next = lowest << 1;
        *escapes = next == 0;
        escaped |= next;
        // An escaped backslash escapes nothing.
        left &= !(lowest | next);
    }
    escaped
}

/// Bit n is whether byte n is one that is looked for. Compilers make few instructions of it, whatever the machine.
#[inline(always)]
fn marks(block: &[u8; BLOCK], is: impl Fn(u8) -> bool) -> u64 {
    const ONES: u64 = u64::from_ne_bytes([1; 8]);
    let bits: [u8; BLOCK] = std::array::from_fn(|n| if is(block[n]) { 1 << (n % 8) } else { 0 });
    let mut marks = 0;
    for (n, eight) in bits.as_chunks::<8>().0.iter().enumerate() {
        // The greatest byte of the product is the sum of all eight, of which no two have a bit in common.
        marks |= u64::from_le_bytes(*eight).wrapping_mul(ONES) >> 56 << (8 * n);
    }
    marks
}

/// Bit n is whether an odd number of the given bits stands at or below it.
#[inline]
const fn odd_up_to(bits: u64) -> u64 {
    let mut odd = bits;
    odd ^= odd << 1;
    odd ^= odd << 2;
    odd ^= odd << 4;
    odd ^= odd << 8;
    odd ^= odd << 16;
    odd ^ odd << 32
}
