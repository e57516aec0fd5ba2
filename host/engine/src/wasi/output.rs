//! What a policy writes to its standard output and standard error: kept in the order it came, of much
//! only the beginning and the end. Touches nothing.

use std::collections::VecDeque;
use weir_core::scaling::MAX_OUTPUT_BYTES;

/// Bytes that are kept of the beginning, and as many of the end. What is left of the bound is for the
/// line that says how much is missing.
const HALF: usize = MAX_OUTPUT_BYTES / 2 - 32;

/// Bytes of the beginning and of the end that go into an error.
const WORDS: usize = 240;

/// Standard output and standard error of one call.
#[derive(Debug, Default)]
pub(crate) struct Output {
    head: Vec<u8>,
    tail: VecDeque<u8>,
    written: u64,
}

impl Output {
    /// Takes what was written.
    pub(crate) fn write(&mut self, bytes: &[u8]) {
        self.written = self.written.saturating_add(bytes.len() as u64);
        let (head, rest) = bytes.split_at(bytes.len().min(HALF.saturating_sub(self.head.len())));
        self.head.extend_from_slice(head);
        let rest = rest.get(rest.len().saturating_sub(HALF)..).unwrap_or_default();
        let spare = (self.tail.len() + rest.len()).saturating_sub(HALF);
        self.tail.drain(..spare.min(self.tail.len()));
        self.tail.extend(rest);
    }

    /// All that was kept, as text of at most [`MAX_OUTPUT_BYTES`].
    pub(crate) fn text(&self) -> String {
        self.within(HALF)
    }

    /// The same in few words, for an error.
    pub(crate) fn words(&self) -> String {
        self.within(WORDS)
    }

    fn within(&self, half: usize) -> String {
        let mut kept = self.head.clone();
        kept.extend(&self.tail);
        let lost = self.written.saturating_sub(kept.len() as u64);
        let text = if lost == 0 { printable(&kept) } else { String::new() };
        if lost == 0 && text.len() <= half * 2 {
            return text;
        }
        let (first, last) = if lost == 0 { (text.clone(), text) } else { (printable(&self.head), printable(&Vec::from(self.tail.clone()))) };
        let (first, last) = (beginning(&first, half), end(&last, half));
        let missing = self.written.saturating_sub((first.len() + last.len()) as u64);
        format!("{first}\n[about {missing} bytes are left out]\n{last}")
    }
}

/// Text without what a terminal or a log would take for a command.
fn printable(bytes: &[u8]) -> String {
    let plain = |c: char| if c.is_control() && c != '\n' && c != '\t' { '\u{fffd}' } else { c };
    String::from_utf8_lossy(bytes).chars().filter(|c| *c != '\r').map(plain).collect()
}

fn beginning(text: &str, most: usize) -> &str {
    let end = (0..=most.min(text.len())).rev().find(|at| text.is_char_boundary(*at)).unwrap_or(0);
    text.get(..end).unwrap_or_default()
}

fn end(text: &str, most: usize) -> &str {
    let begin = (text.len().saturating_sub(most)..=text.len()).find(|at| text.is_char_boundary(*at)).unwrap_or(text.len());
    text.get(begin..).unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn written(parts: &[&[u8]]) -> Output {
        let mut output = Output::default();
        for part in parts {
            output.write(part);
        }
        output
    }

    #[test]
    fn what_is_short_is_kept_as_it_came() {
        assert_eq!(written(&[b"one\r\n", b"tw\xc3", b"\xb6\n"]).text(), "one\ntwö\n");
        assert_eq!(written(&[]).text(), "");
    }

    #[test]
    fn of_much_the_beginning_and_the_end_are_kept() {
        let mut output = written(&[b"first "]);
        for _ in 0..1_000 {
            output.write(&[b'x'; 10_000]);
        }
        output.write(b" last");
        let text = output.text();
        assert!(text.starts_with("first x") && text.ends_with("x last"), "{text}");
        assert!(text.contains("99959") && text.len() <= MAX_OUTPUT_BYTES, "{} {text}", text.len());
        let words = output.words();
        assert!(words.starts_with("first x") && words.ends_with("x last") && words.len() < 600, "{words}");
    }

    #[test]
    fn no_bytes_at_all_pass_the_bound_or_reach_a_terminal_as_commands() {
        for parts in [vec![[0xff_u8; 9_000].as_slice()], vec![&[0x1b; 4_000]], vec![&[0xc3; 2_017]; 2], vec!["ö".repeat(4_000).as_bytes()]] {
            let text = written(&parts).text();
            assert!(text.len() <= MAX_OUTPUT_BYTES, "{}", text.len());
            assert!(!text.chars().any(|c| c.is_control() && c != '\n'), "{text:?}");
        }
    }
}
