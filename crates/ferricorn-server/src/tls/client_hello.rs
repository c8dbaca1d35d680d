//! What is read of a ClientHello ahead of rustls: whether the client would rather have ChaCha20 than AES.

/// The record's header, the message's header, its version and random bytes (RFC 8446 sections 5.1, 4 and 4.1.2).
const BEFORE_SESSION_ID: usize = 5 + 4 + 2 + 32;

/// The suites of ChaCha20-Poly1305: that of TLS 1.3, and those of TLS 1.2 (RFC 7905).
const CHACHA20: [u16; 4] = [0x1303, 0xCCA8, 0xCCA9, 0xCCAA];

/// Whether the suite that the client names first is one of ChaCha20: it has no hardware for AES.
///
/// None: more of the message has to come. What is no ClientHello, or has its suites in another record, says nothing.
pub(super) fn prefers_chacha20(bytes: &[u8]) -> Option<bool> {
    let suites = BEFORE_SESSION_ID + 1 + usize::from(*bytes.get(BEFORE_SESSION_ID)?) + 2;
    let record_end = 5 + usize::from(u16::from_be_bytes([bytes[3], bytes[4]]));
    let mut at = suites;
    loop {
        if at + 2 > record_end {
            return Some(false);
        }
        let suite = u16::from_be_bytes([*bytes.get(at)?, *bytes.get(at + 1)?]);
        if !is_grease(suite) {
            return Some(CHACHA20.contains(&suite));
        }
        at += 2;
    }
}

/// Whether it is a value that is only there so that servers do not forget to ignore what they do not know (RFC 8701).
fn is_grease(suite: u16) -> bool {
    let [high, low] = suite.to_be_bytes();
    high == low && low & 0x0F == 0x0A
}

#[cfg(test)]
mod tests {
    use super::*;

    fn hello(session_id: usize, suites: &[u16]) -> Vec<u8> {
        let mut body = vec![3, 3];
        body.extend([7; 32]);
        body.push(session_id as u8);
        body.extend(std::iter::repeat_n(9, session_id));
        body.extend((suites.len() as u16 * 2).to_be_bytes());
        body.extend(suites.iter().flat_map(|suite| suite.to_be_bytes()));
        body.extend([1, 0]);
        let mut record = vec![22, 3, 1];
        record.extend((body.len() as u16 + 4).to_be_bytes());
        record.extend([1, 0, 0, body.len() as u8]);
        record.extend(body);
        record
    }

    #[test]
    fn the_first_suite_counts_that_is_not_grease() {
        for session_id in [0, 32] {
            for (suites, expected) in [
                (&[0x1301, 0x1303][..], false),
                (&[0x1303, 0x1301], true),
                (&[0xCCA9, 0xC02B], true),
                (&[0x4A4A, 0x1303], true),
                (&[0x4A4A, 0xFAFA, 0x1302, 0x1303], false),
                (&[0x0A0A], false),
                (&[], false),
            ] {
                assert_eq!(prefers_chacha20(&hello(session_id, suites)), Some(expected), "{suites:x?}");
            }
        }
    }

    #[test]
    fn byte_by_byte_it_says_nothing_until_it_says_the_same() {
        let whole = hello(32, &[0x4A4A, 0x1303, 0x1301]);
        let first = (0..whole.len()).find(|&count| prefers_chacha20(&whole[..count]).is_some()).unwrap();
        assert_eq!(first, BEFORE_SESSION_ID + 1 + 32 + 2 + 4);
        assert!((first..=whole.len()).all(|count| prefers_chacha20(&whole[..count]) == Some(true)));
    }

    #[test]
    fn a_record_that_ends_before_the_suites_says_nothing() {
        let mut short = hello(32, &[0x1303]);
        short[3..5].copy_from_slice(&60u16.to_be_bytes());
        assert_eq!(prefers_chacha20(&short), Some(false));
        assert_eq!(prefers_chacha20(&[0xFF; 400]), Some(false));
    }
}
