//! RFC 9218: how urgent a response is, by the field `priority` and by PRIORITY_UPDATE. This file decides no order.

/// What a client says of a response.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Priority {
    /// 0 is the most urgent, 7 the least (section 4.1).
    pub(super) urgency: u8,
    /// Whether a part of it is of use: it shares with others of its urgency (section 4.2).
    pub(super) incremental: bool,
}

impl Priority {
    /// Where the client says nothing. Its responses share: one that never ends must not keep back all others of a client
    /// that knows nothing of priorities.
    pub(super) const UNKNOWN: Self = Self { urgency: 3, incremental: true };

    /// Reads the value of a `priority` field; what is not understood is as if it was not there (section 4).
    pub(super) fn read(value: &[u8]) -> Self {
        let mut priority = Self { urgency: 3, incremental: false };
        for member in value.split(|&byte| byte == b',').map(<[u8]>::trim_ascii) {
            let member = member.split(|&byte| byte == b';').next().unwrap_or_default();
            match member {
                [b'u', b'=', digit @ b'0'..=b'7'] => priority.urgency = digit - b'0',
                b"i" | b"i=?1" => priority.incremental = true,
                b"i=?0" => priority.incremental = false,
                _ => {}
            }
        }
        priority
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_not_understood_is_ignored() {
        let cases: [(&[u8], u8, bool); 9] = [
            (b"", 3, false),
            (b"u=0", 0, false),
            (b"u=5, i", 5, true),
            (b"i,u=7", 7, true),
            (b"u=8", 3, false),
            (b"u=-1, i=?1", 3, true),
            (b"i, i=?0", 3, false),
            (b"u=1;x=y, foo=bar, i;a", 1, true),
            (b"\xff,,=,u", 3, false),
        ];
        for (value, urgency, incremental) in cases {
            assert_eq!(Priority::read(value), Priority { urgency, incremental }, "{}", value.escape_ascii());
        }
    }
}
