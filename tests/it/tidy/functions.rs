//! Measures functions: where each one starts, how many lines and how many parameters it has.

use super::source::{Source, is_word, item_end};

pub struct Function {
    pub name: String,
    /// Line of the `fn`, from 1.
    pub line: usize,
    /// From the line of the `fn` to the line of its closing brace.
    pub lines: usize,
    /// Without the receiver; 0 where a trait, perhaps somebody else's, has decided.
    pub parameters: usize,
}

/// Every function of the file that has a body or could have one.
pub fn of(source: &Source) -> Vec<Function> {
    let code = source.code.as_str();
    let mut found = Vec::new();
    let of_traits = trait_blocks(code);
    for (at, _) in code.match_indices("fn ") {
        let inside_word = code[..at].bytes().next_back().is_some_and(is_word);
        let name: String = code[at + 3..].chars().take_while(|c| c.is_ascii_alphanumeric() || *c == '_').collect();
        if inside_word || name.is_empty() {
            continue;
        }
        let (line, last) = (source.line(at), source.line(item_end(code, at).min(code.len() - 1)));
        let decided = of_traits.iter().any(|block| block.contains(&at));
        let parameters = if decided { 0 } else { parameters(&code[at + 3 + name.len()..]) };
        found.push(Function { name, line, lines: last - line + 1, parameters });
    }
    found
}

/// Where the file implements traits.
fn trait_blocks(code: &str) -> Vec<std::ops::Range<usize>> {
    let starts = code.match_indices("impl").map(|(at, _)| at).filter(|at| *at == 0 || code[..*at].ends_with('\n'));
    let of_trait = |at: &usize| code[*at..].split('{').next().is_some_and(|header| header.contains(" for "));
    starts.filter(of_trait).map(|at| at..item_end(code, at)).collect()
}

/// Counts what stands between the parentheses after a function's name and generics.
fn parameters(signature: &str) -> usize {
    let (mut angle, mut depth, mut count, mut seen) = (0_i32, 0_i32, 0, String::new());
    let mut previous = ' ';
    for letter in signature.chars() {
        match letter {
            '<' => angle += 1,
            '>' if previous != '-' && previous != '=' => angle -= 1,
            '(' | '[' | '{' => depth += 1,
            ')' | ']' | '}' => depth -= 1,
            ',' if depth == 1 && angle == 0 => {
                count += usize::from(is_parameter(&seen));
                seen.clear();
            }
            _ => {}
        }
        if depth == 0 && angle == 0 && letter == ')' {
            return count + usize::from(is_parameter(&seen));
        }
        if depth >= 1 && angle >= 0 && !(letter == '(' && depth == 1 && angle == 0) && letter != ',' {
            seen.push(letter);
        }
        if depth == 0 {
            seen.clear();
        }
        previous = letter;
    }
    count
}

fn is_parameter(text: &str) -> bool {
    let text = text.trim();
    let receiver = text.split(':').next().unwrap_or(text).split_whitespace().next_back();
    !text.is_empty() && !matches!(receiver, Some("self" | "&self"))
}
