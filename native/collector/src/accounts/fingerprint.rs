// SPDX-License-Identifier: Apache-2.0
// Copyright The MidoInsights authors

use insights_store::catalog::Fingerprint;

/// The text is not a fingerprint.
#[derive(Clone, Debug, Eq, PartialEq, thiserror::Error)]
#[error("a fingerprint is 32 pairs of hexadecimal digits, as `mn-insights show` prints it; this has {0}")]
pub struct FingerprintError(String);

/// Reads what `mn-insights show` prints: pairs of hexadecimal digits of either case, with colons, blanks or nothing between, and perhaps
/// `SHA256:` before them.
pub fn parse_fingerprint(text: &str) -> Result<Fingerprint, FingerprintError> {
    let text = text.trim();
    let prefix = "sha256:";
    let digits = match text.get(..prefix.len()) {
        Some(start) if start.eq_ignore_ascii_case(prefix) => &text[prefix.len()..],
        _ => text,
    };
    let digits: String = digits.chars().filter(|c| !matches!(c, ':' | ' ' | '\t')).collect();
    if let Some(other) = digits.chars().find(|c| !c.is_ascii_hexdigit()) {
        return Err(FingerprintError(format!("the character {other:?}")));
    }
    let mut fingerprint = [0; 32];
    hex::decode_to_slice(&digits, &mut fingerprint).map_err(|_| FingerprintError(format!("{} digits", digits.len())))?;
    Ok(fingerprint)
}

/// Colon-separated lower-case pairs, as `mn-insights show` prints them.
pub fn format_fingerprint(fingerprint: &Fingerprint) -> String {
    let pairs: Vec<String> = fingerprint.iter().map(|byte| format!("{byte:02x}")).collect();
    pairs.join(":")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn fingerprints_are_read_in_every_form_that_people_paste() {
        let fingerprint: Fingerprint = std::array::from_fn(|index| index as u8 * 7);
        let text = format_fingerprint(&fingerprint);
        assert_eq!(text.len(), 95);
        for form in [
            text.clone(),
            text.to_uppercase(),
            text.replace(':', ""),
            text.replace(':', " "),
            format!(" SHA256:{text}\n"),
        ] {
            assert_eq!(parse_fingerprint(&form), Ok(fingerprint), "{form}");
        }
    }

    #[test]
    fn others_are_refused_with_what_is_wrong() {
        for (text, wrong) in [
            ("", "0 digits"),
            ("ab:cd", "4 digits"),
            ("zz", "the character 'z'"),
            ("é", "the character"),
        ] {
            let error = parse_fingerprint(text).unwrap_err().to_string();
            assert!(error.contains(wrong), "{text}: {error}");
        }
        assert!(parse_fingerprint(&"00".repeat(33)).is_err());
    }
}
