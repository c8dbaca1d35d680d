//! Which cipher suites are offered, by the names of OpenSSL or of IANA. Those of rustls are all modern: with forward
//! secrecy and authenticated encryption.

use rustls::SupportedCipherSuite;
use rustls::crypto::aws_lc_rs::ALL_CIPHER_SUITES;

/// What OpenSSL's lists say beside names: it stands for our own list.
const KEYWORDS: [&str; 16] = [
    "default", "all", "high", "medium", "tlsv1", "tlsv1.0", "tlsv1.1", "tlsv1.2", "tlsv1.3", "ecdhe", "eecdh", "ecdh",
    "aesgcm", "chacha20", "aes", "fips",
];

/// The suites of a list as OpenSSL writes it, in its order; names apart by `:`, `,` or spaces. What it does not name
/// follows in our own order, [`ours`].
///
/// Names of TLS 1.2 alone leave TLS 1.3 what it has, and the other way round. `!NAME` takes one out. Names of suites
/// that are not modern say nothing; a list that names no suite stands for all.
///
/// # Errors
/// A list of unknown names.
pub(super) fn read(list: &str) -> Result<Vec<SupportedCipherSuite>, String> {
    let words: Vec<_> = list.split([':', ',', ' ']).filter(|word| !word.is_empty()).collect();
    let mut suites: Vec<SupportedCipherSuite> = Vec::new();
    for suite in words.iter().filter_map(|word| find(word)) {
        if !suites.contains(&suite) {
            suites.push(suite);
        }
    }
    if suites.is_empty() && !words.is_empty() && !words.iter().any(|word| is_keyword(word)) {
        return Err(format!("no cipher suite of \"{list}\" is known"));
    }
    for is_tls13 in [true, false] {
        if !suites.iter().any(|suite| suite.tls13().is_some() == is_tls13) {
            suites.extend(ours().into_iter().filter(|suite| suite.tls13().is_some() == is_tls13));
        }
    }
    let excluded: Vec<_> = words.iter().filter_map(|word| find(word.strip_prefix(['!', '-'])?)).collect();
    suites.retain(|suite| !excluded.contains(suite));
    if suites.is_empty() { Err(format!("\"{list}\" leaves no cipher suite")) } else { Ok(suites) }
}

/// All suites, those of AES-128 first: it is as safe as AES-256 for what is known, and its handshakes and records cost
/// less, SHA-256 having its own instructions where SHA-384 has none.
fn ours() -> Vec<SupportedCipherSuite> {
    let mut suites = ALL_CIPHER_SUITES.to_vec();
    suites.sort_by_key(|suite| !format!("{:?}", suite.suite()).contains("AES_128"));
    suites
}

/// Whether a word of OpenSSL's lists is one that names many suites, or none: `HIGH`, `ECDHE+AESGCM`, `!aNULL`,
/// `@SECLEVEL=2`.
fn is_keyword(word: &str) -> bool {
    word.starts_with(['!', '-', '+', '@'])
        || word.split('+').all(|part| KEYWORDS.contains(&part.to_ascii_lowercase().as_str()))
}

fn find(name: &str) -> Option<SupportedCipherSuite> {
    ALL_CIPHER_SUITES.iter().copied().find(|suite| {
        let ours = format!("{:?}", suite.suite());
        let iana = ours.replace("TLS13_", "TLS_");
        name.eq_ignore_ascii_case(&ours)
            || name.eq_ignore_ascii_case(&iana)
            || name.eq_ignore_ascii_case(&openssl(&iana))
    })
}

/// The name of a suite of TLS 1.2 in OpenSSL: `ECDHE-RSA-AES128-GCM-SHA256`; those of TLS 1.3 are named as IANA does.
fn openssl(iana: &str) -> String {
    let name = iana.trim_start_matches("TLS_").replace("_WITH", "").replace("AES_", "AES").replace('_', "-");
    name.replace("-CHACHA20-POLY1305-SHA256", "-CHACHA20-POLY1305")
}

#[cfg(test)]
mod tests {
    use super::*;

    fn names(list: &str) -> Vec<String> {
        read(list).unwrap().iter().map(|suite| format!("{:?}", suite.suite())).collect()
    }

    #[test]
    fn suites_have_the_names_of_openssl_and_of_iana() {
        let expected = ["TLS_ECDHE_RSA_WITH_AES_128_GCM_SHA256", "TLS_ECDHE_ECDSA_WITH_CHACHA20_POLY1305_SHA256"];
        for list in [
            "ECDHE-RSA-AES128-GCM-SHA256:ECDHE-ECDSA-CHACHA20-POLY1305",
            "tls_ecdhe_rsa_with_aes_128_gcm_sha256, TLS_ECDHE_ECDSA_WITH_CHACHA20_POLY1305_SHA256",
            "DHE-RSA-AES128-GCM-SHA256:ECDHE-RSA-AES128-GCM-SHA256:ECDHE-ECDSA-CHACHA20-POLY1305:AES128-SHA",
        ] {
            assert_eq!(names(list)[..2], expected, "{list}");
            assert_eq!(names(list).len(), 5, "TLS 1.3 has what it had");
        }
    }

    #[test]
    fn the_versions_are_chosen_apart() {
        assert_eq!(names("TLS_AES_256_GCM_SHA384").len(), 7);
        assert_eq!(names("TLS_AES_256_GCM_SHA384")[0], "TLS13_AES_256_GCM_SHA384");
        let both = "ECDHE-RSA-AES256-GCM-SHA384:TLS_AES_128_GCM_SHA256";
        assert_eq!(names(both), ["TLS_ECDHE_RSA_WITH_AES_256_GCM_SHA384", "TLS13_AES_128_GCM_SHA256"]);
    }

    #[test]
    fn the_words_of_openssl_stand_for_our_own_list() {
        for list in ["", "TLSv1", "HIGH:!aNULL:!MD5", "ECDHE+AESGCM", "DEFAULT@SECLEVEL=2:@STRENGTH", "!aNULL"] {
            assert_eq!(names(list).len(), ALL_CIPHER_SUITES.len(), "{list}");
        }
        assert!(!names("HIGH:!TLS_CHACHA20_POLY1305_SHA256").contains(&"TLS13_CHACHA20_POLY1305_SHA256".to_owned()));
    }

    #[test]
    fn without_a_word_of_the_operator_aes_128_comes_first() {
        for is_tls13 in [true, false] {
            let of_version = names("").into_iter().filter(|name| name.starts_with("TLS13") == is_tls13);
            let is_aes128: Vec<_> = of_version.map(|name| name.contains("AES_128")).collect();
            assert!(is_aes128[0] && is_aes128.is_sorted_by(|before, after| before >= after), "{is_aes128:?}");
        }
        assert_eq!(ours().len(), ALL_CIPHER_SUITES.len());
    }

    #[test]
    fn unknown_names_are_refused() {
        for list in ["AES128-SHA", "ECDHE-RSA-AES128-GCM-SHA25", "none"] {
            assert!(read(list).unwrap_err().contains(list));
        }
    }
}
