//! Addresses as they may be shown: in log lines, messages and spans.

use std::borrow::Cow;

use percent_encoding::percent_decode_str;
use url::Url;

const REDACTED: &str = "REDACTED";

/// Names of query parameters whose values sign a request: those of the semantic conventions' `url.full`, and
/// what else signed addresses of Amazon's stores carry.
const SECRET_PARAMETERS: [&str; 7] = [
    "AWSAccessKeyId",
    "Signature",
    "sig",
    "X-Goog-Signature",
    "X-Amz-Signature",
    "X-Amz-Credential",
    "X-Amz-Security-Token",
];

/// An address without its secrets: user, password and the values of signing parameters are `REDACTED`.
pub fn url(url: &Url) -> Cow<'_, str> {
    let user = !url.username().is_empty() || url.password().is_some();
    let query = url.query().map(self::query);
    let signed = matches!(query, Some(Cow::Owned(_)));
    if !user && !signed {
        return Cow::Borrowed(url.as_str());
    }
    let mut shown = url.clone();
    if user {
        // Both fail only for addresses without a host, which have neither.
        let _ = shown.set_username(REDACTED);
        let _ = shown.set_password(Some(REDACTED));
    }
    if signed {
        shown.set_query(query.as_deref());
    }
    Cow::Owned(shown.into())
}

/// What should be an address but may be none: shown only when it cannot hold a secret.
pub fn text(text: &str) -> Cow<'_, str> {
    match Url::parse(text) {
        Ok(parsed) if parsed.has_host() => Cow::Owned(url(&parsed).into_owned()),
        _ if text.contains(['@', '?']) => Cow::Borrowed("(not shown)"),
        _ => Cow::Borrowed(text),
    }
}

/// A query, without the `?`, with the values of signing parameters `REDACTED`.
pub fn query(query: &str) -> Cow<'_, str> {
    if !query.split('&').any(is_secret) {
        return Cow::Borrowed(query);
    }
    let shown: Vec<_> = query
        .split('&')
        .map(|parameter| match parameter.split_once('=') {
            Some((name, _)) if is_secret(parameter) => Cow::Owned(format!("{name}={REDACTED}")),
            _ => Cow::Borrowed(parameter),
        })
        .collect();
    Cow::Owned(shown.join("&"))
}

fn is_secret(parameter: &str) -> bool {
    let Some((name, _)) = parameter.split_once('=') else {
        return false;
    };
    let is = |name: &str| {
        SECRET_PARAMETERS
            .iter()
            .any(|secret| secret.eq_ignore_ascii_case(name))
    };
    is(name) || (name.contains('%') && is(&percent_decode_str(name).decode_utf8_lossy()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn credentials_and_signatures_are_never_shown() {
        for (full, shown) in [
            (
                "http://users:8000/users?name=a",
                "http://users:8000/users?name=a",
            ),
            (
                "http://me:secret@users:8000/users?name=a",
                "http://REDACTED:REDACTED@users:8000/users?name=a",
            ),
            ("http://me@users/", "http://REDACTED:REDACTED@users/"),
            ("http://:secret@users/", "http://REDACTED:REDACTED@users/"),
            (
                "https://h/a?sig=s%2Fe&se=1&Signature=s#x",
                "https://h/a?sig=REDACTED&se=1&Signature=REDACTED#x",
            ),
            (
                "https://h/?X-Amz-Credential=a&x-amz-signature=b&X-Amz-Security-Token=c&X-Amz-Date=1",
                "https://h/?X-Amz-Credential=REDACTED&x-amz-signature=REDACTED\
                 &X-Amz-Security-Token=REDACTED&X-Amz-Date=1",
            ),
            (
                "https://h/?s%69g=a&sigh=1&sig",
                "https://h/?s%69g=REDACTED&sigh=1&sig",
            ),
            (
                "https://h/?AWSAccessKeyId=a=b&X-Goog-Signature=&q=sig=1",
                "https://h/?AWSAccessKeyId=REDACTED&X-Goog-Signature=REDACTED&q=sig=1",
            ),
        ] {
            assert_eq!(url(&Url::parse(full).unwrap()), shown);
            assert_eq!(text(full), shown);
        }
    }

    #[test]
    fn what_is_no_address_is_shown_without_a_doubt_only() {
        assert_eq!(text("not an address"), "not an address");
        assert_eq!(text("me:secret@h"), "(not shown)");
        assert_eq!(text("h?sig=a"), "(not shown)");
    }
}
