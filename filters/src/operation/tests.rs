//! What is read out of a body and where its model names stand, as tables; and that a renamed body differs from the
//! received one in nothing else, for any body.

use http::{HeaderMap, Method};
use proptest::prelude::*;
use serde_json::{Value, json};

use super::*;
use crate::endpoint::classify;
use crate::head::RequestHead;
use crate::path::CanonicalPath;

const CHAT: &str = "/v1/chat/completions";
const AZURE: &str = "/openai/deployments/deployed/chat/completions";
const GEMINI: &str = "/v1beta/models/flash:batchEmbedContents";

fn endpoint(method: Method, path: &str, query: Option<&str>) -> Endpoint {
    let path = CanonicalPath::parse(path).unwrap();
    let headers = HeaderMap::new();
    classify(&RequestHead {
        method: &method,
        path: &path,
        query,
        headers: &headers,
        source: None,
        client_certificate: None,
    })
    .unwrap()
}

fn read(path: &str, body: &str) -> Result<Operation, Denial> {
    Operation::read(endpoint(Method::POST, path, None), None, Some("application/json"), body.as_bytes())
}

fn renamed(path: &str, body: &str, name: &str) -> String {
    let operation = read(path, body).unwrap();
    String::from_utf8(operation.names.clone().rename(Bytes::copy_from_slice(body.as_bytes()), name).to_vec()).unwrap()
}

#[test]
fn the_model_is_the_one_that_every_parser_reads() {
    for (body, model, stream) in [
        (r#"{"model":"gpt-4o"}"#, Some("gpt-4o"), false),
        (r#" {"messages":[{"model":"x"}],"stream":true , "model" : "gpt-4o" } "#, Some("gpt-4o"), true),
        (r#"{"model":"gpt\u002d4o","stream":false}"#, Some("gpt-4o"), false),
        (r#"{"mod\u0065l":"gpt-4o"}"#, Some("gpt-4o"), false),
        (r#"{"model":"\ud83d\ude00 \"é\""}"#, Some("\u{1f600} \"é\""), false),
        (r#"{"metadata":{"model":"nested","Model":1},"tools":[{"model":1,"api_key":"nested"}]}"#, None, false),
        (r#"{"model":null,"stream":"true"}"#, None, false),
        (r#"{"model":""}"#, Some(""), false),
        (r#"{"requests":"not an array","model":"m"}"#, Some("m"), false),
        ("{}", None, false),
    ] {
        let operation = read(CHAT, body).unwrap_or_else(|denial| panic!("{body}: {denial}"));
        assert_eq!((operation.model.as_deref(), operation.stream), (model, stream), "{body}");
    }
}

#[test]
fn a_body_that_can_be_read_in_two_ways_is_refused() {
    for body in [
        "",
        " ",
        "null",
        "[]",
        r#""model""#,
        r#"[{"model":"m"}]"#,
        r#"{"model":"a","model":"b"}"#,
        r#"{"model":"a","mod\u0065l":"b"}"#,
        r#"{"model":"a","model":null}"#,
        r#"{"model":"a","Model":"b"}"#,
        r#"{"MODEL":"a"}"#,
        r#"{"stream":true,"stream":false,"model":"m"}"#,
        r#"{"model":["m"]}"#,
        r#"{"model":{"name":"m"}}"#,
        r#"{"model":1}"#,
        r#"{"model":"\ud800"}"#,
        r#"{"model":"m"} {"model":"n"}"#,
        r#"{"model":"m"}x"#,
        r#"{"model":"m""#,
        r#"{"model":"m",}"#,
        r#"{'model':'m'}"#,
        r#"{"model":"m","a":NaN}"#,
        "\u{feff}{\"model\":\"m\"}",
        r#"{"model":"m","requests":[{"model":"a","model":"b"}]}"#,
    ] {
        assert!(matches!(read(CHAT, body), Err(Denial::UnreadableBody(_))), "{body:?} was read");
    }
    let not_utf8 =
        Operation::read(endpoint(Method::POST, CHAT, None), None, Some("application/json"), b"{\"model\":\"\xff\"}");
    assert!(matches!(not_utf8, Err(Denial::UnreadableBody(_))));
}

#[test]
fn members_that_would_redirect_the_request_are_refused_wherever_they_are_looked_for() {
    for field in FORBIDDEN_FIELDS.iter().chain(&CLIENT_FIELDS) {
        let refused = Err(Denial::ForbiddenField((*field).to_owned()));
        let body = json!({"model": "m", *field: "x"}).to_string();
        assert_eq!(read(CHAT, &body), refused, "{body}");
        for container in ["metadata", "litellm_metadata", "extra_body", "litellm_embedding_config"] {
            let body = json!({"model": "m", container: {"a": [], *field: "x"}}).to_string();
            assert_eq!(read(CHAT, &body), refused, "{body}");
            assert_eq!(taken(&body).map(|_| ()), refused.clone().map(|_: Operation| ()), "{body}");
        }
        assert!(read(CHAT, &json!({"model": "m", "messages": [{*field: "x"}]}).to_string()).is_ok(), "{field}");
        let form = format!(
            "--b\r\nContent-Disposition: form-data; name=\"model\"\r\n\r\nm\r\n--b\r\n\
             Content-Disposition: form-data; name=\"{field}\"\r\n\r\nx\r\n--b--\r\n"
        );
        let endpoint = endpoint(Method::POST, "/v1/audio/transcriptions", None);
        let form = Operation::take(endpoint, None, Some("multipart/form-data; boundary=b"), form.into());
        assert_eq!(form.map(|_| ()), refused.map(|_| ()), "{field} in a form");
    }
    for body in
        [r#"{"model":"m","api\u005fbase":"http://x"}"#, r#"{"model":"m","api_key":"k","api\u005fbase":"http://x"}"#]
    {
        assert_eq!(read(CHAT, body).unwrap_err().reason(), "forbidden_field", "{body}");
        assert_eq!(taken(body).unwrap_err().reason(), "forbidden_field", "{body}");
    }
    assert!(read(CHAT, r#"{"model":"m","metadata":"api_key","extra_body":["api_key"]}"#).is_ok());
}

/// The operation, and the body that goes on.
fn taken(body: &str) -> Result<(Operation, String), Denial> {
    let body = Bytes::copy_from_slice(body.as_bytes());
    let taken = Operation::take(endpoint(Method::POST, CHAT, None), None, Some("application/json"), body)?;
    Ok((taken.0, String::from_utf8(taken.1.to_vec()).unwrap()))
}

#[test]
fn what_the_caller_brings_is_cut_out_and_nothing_else() {
    for (body, rest) in [
        (r#"{"model":"m","api_key":"k"}"#, r#"{"model":"m"}"#),
        (r#"{"api_key":"k","model":"m"}"#, r#"{"model":"m"}"#),
        (r#"{"model":"m", "api_key" : "k" , "n":1}"#, r#"{"model":"m",  "n":1}"#),
        ("{\n  \"model\": \"m\",\n  \"api_key\": \"k\"\n}", "{\n  \"model\": \"m\"\n}"),
        (r#"{"api_key":"k"}"#, "{}"),
        (r#"{"model":"m","api_key":"k","api_base":"https://a.example"}"#, r#"{"model":"m"}"#),
        (r#"{"api_base":"https://a.example","api_key":"k","model":"m"}"#, r#"{"model":"m"}"#),
        (r#"{"api_key":"k","base_url":"https://a.example"}"#, "{}"),
        (
            r#"{"api_version":"1","n":[{"api_key":","}],"organization":"o","model":"m","api_key":"k","x":"}"}"#,
            r#"{"n":[{"api_key":","}],"model":"m","x":"}"}"#,
        ),
        (r#"{"model":"m","user_config":{"model_list":[]},"stream":true}"#, r#"{"model":"m","stream":true}"#),
    ] {
        let (operation, cut) = taken(body).unwrap();
        assert_eq!(cut, rest, "{body}");
        let renamed = operation.names.clone().rename(Bytes::copy_from_slice(cut.as_bytes()), "n");
        let renamed: Value = serde_json::from_slice(&renamed).unwrap();
        assert_eq!((operation.client.is_some(), &renamed["model"]), (true, &json!("n")), "{body}");
    }
    // They say nothing of anybody's account by themselves, and are the provider's to read.
    for body in [r#"{"model":"m"}"#, r#"{"model":"m","organization":"o","api_version":7}"#] {
        let (operation, whole) = taken(body).unwrap();
        assert_eq!((operation.client, whole.as_str()), (None, body));
    }
    let twice = taken(r#"{"model":"m","api_key":"a","api_key":"b"}"#).unwrap_err();
    assert_eq!(twice.reason(), "unreadable_body");
}

proptest! {
    /// Whatever stands around them: the same JSON without these members.
    #[test]
    fn the_rest_of_the_body_is_the_same_json(
        members in prop::collection::vec(("[a-z ,{}\"\\\\]{0,6}", "[a-z ,:{}\"\\\\]{0,8}"), 0..5),
        places in (0_usize..6, 0_usize..6),
        spaces in "[ \n\t]{0,2}",
    ) {
        let mut expected = serde_json::Map::new();
        let mut texts: Vec<String> = Vec::new();
        for (name, value) in members {
            if expected.insert(format!("x{name}"), json!([value])).is_none() {
                texts.push(format!("{}{spaces}:{spaces}{}", json!(format!("x{name}")), json!([value])));
            }
        }
        texts.insert(places.0.min(texts.len()), format!(r#""api_key"{spaces}:{spaces}"secret""#));
        texts.insert(places.1.min(texts.len()), format!(r#""api_base":"https://a.example"{spaces}"#));
        let (_, rest) = taken(&format!("{spaces}{{{spaces}{}{spaces}}}", texts.join(&format!("{spaces},{spaces}")))).unwrap();
        let rest: Value = serde_json::from_str(&rest).unwrap();
        // A name may come twice above; the last one counts in both.
        let left: Vec<&String> = rest.as_object().unwrap().keys().collect();
        prop_assert_eq!(left.len(), expected.len(), "{:?}", left);
        for (name, value) in &expected {
            prop_assert!(rest.get(name).is_some(), "{} {}", name, value);
        }
    }
}

#[test]
fn depth_costs_no_stack() {
    let deep = |open: &str, close: &str| format!("{}1{}", open.repeat(100_000), close.repeat(100_000));
    for body in [
        format!(r#"{{"model":"m","messages":{}}}"#, deep("[", "]")),
        format!(r#"{{"model":"m","requests":{}}}"#, deep("[", "]")),
        format!(r#"{{"model":"m","requests":[{}]}}"#, deep(r#"{"requests":["#, "]}")),
        format!(r#"{{"model":"m","requests":[{}]}}"#, deep(r#"{"a":"#, "}")),
    ] {
        let model = read(CHAT, &body).map(|operation| operation.model);
        assert_eq!(model, Ok(Some("m".into())), "{}", &body[..40]);
    }
}

#[test]
fn the_path_wins_where_the_vendor_names_the_model_in_it() {
    for body in [r#"{"model":"other"}"#, r#"{"model":null}"#, "{}"] {
        assert_eq!(read(AZURE, body).unwrap().model.as_deref(), Some("deployed"), "{body}");
    }
}

#[test]
fn gemini_bodies_agree_with_their_path_or_are_refused() {
    for (body, agrees) in [
        (r#"{"contents":[]}"#, true),
        (r#"{"model":"models/flash"}"#, true),
        (r#"{"model":"flash"}"#, true),
        (r#"{"requests":[{"model":"models/flash"},{"model":"models\/flash"},{"content":1}]}"#, true),
        (r#"{"model":"pro"}"#, false),
        (r#"{"model":"models/models/flash"}"#, false),
        (r#"{"requests":[{"model":"models/flash"},{"model":"models/pro"}]}"#, false),
        (r#"{"requests":[{"model":"models/flash"}],"requests":[{"model":"models/pro"}]}"#, false),
        (r#"{"requests":[{"model":null}]}"#, false),
    ] {
        let read = read(GEMINI, body);
        assert_eq!(read.is_ok(), agrees, "{body}: {read:?}");
        assert!(read.is_ok_and(|operation| operation.model.as_deref() == Some("flash")) || !agrees, "{body}");
    }
}

#[test]
fn only_the_name_changes() {
    for (path, body, name, expected) in [
        (CHAT, r#"{"a":1.0,"model":"x","b":[ ]}"#, "y-longer", r#"{"a":1.0,"model":"y-longer","b":[ ]}"#),
        (CHAT, r#"{"model":"gpt\u002d4"}"#, "gpt-4", r#"{"model":"gpt-4"}"#),
        (CHAT, r#"{"model":"x"}"#, "a\"\\\u{7}é", r#"{"model":"a\"\\\u0007é"}"#),
        (AZURE, r#"{"model":null}"#, "y", r#"{"model":"y"}"#),
        (AZURE, " { } ", "y", r#" {"model":"y" } "#),
        (AZURE, r#"{"messages":[]}"#, "y", r#"{"model":"y","messages":[]}"#),
        (GEMINI, r#"{"contents":[]}"#, "y", r#"{"contents":[]}"#),
        (GEMINI, r#"{"model":"flash"}"#, "y", r#"{"model":"y"}"#),
        (
            GEMINI,
            r#"{"requests":[{"model":"models/flash"},{"model":"models/flash"}]}"#,
            "y",
            r#"{"requests":[{"model":"models/y"},{"model":"models/y"}]}"#,
        ),
    ] {
        assert_eq!(renamed(path, body, name), expected, "{path} {body}");
    }
}

#[test]
fn a_body_that_keeps_its_name_is_not_copied() {
    let body = Bytes::from_static(br#"{"model": "same" }"#);
    let operation = read(CHAT, r#"{"model": "same" }"#).unwrap();
    assert_eq!(operation.names.clone().rename(body.clone(), "same").as_ptr(), body.as_ptr());
}

#[test]
fn a_websocket_names_its_model_in_the_query_once() {
    for (query, model) in [
        (Some("model=gpt-4o-realtime"), Ok(Some("gpt-4o-realtime"))),
        (Some("a=b&deployment=d%2De"), Ok(Some("d-e"))),
        (Some("intent=transcription"), Ok(None)),
        (None, Ok(None)),
        (Some("model=a&model=b"), Err(())),
        (Some("model=a&deployment=b"), Err(())),
        (Some("model=a&mod%65l=b"), Err(())),
        (Some("model=a&MODEL=b"), Err(())),
    ] {
        let read = Operation::read(endpoint(Method::GET, "/v1/realtime", query), query, None, b"");
        let read = read.map(|operation| operation.model).map_err(|_| ());
        assert_eq!(read, model.map(|model| model.map(Arc::from)), "{query:?}");
    }
}

const FORM: &str = "multipart/form-data; boundary=b0";

fn form(body: &str) -> Result<Operation, Denial> {
    let endpoint = endpoint(Method::POST, "/v1/audio/transcriptions", None);
    Operation::read(endpoint, None, Some(FORM), body.as_bytes())
}

fn part(head: &str, content: &str) -> String {
    format!("--b0\r\n{head}\r\n\r\n{content}\r\n")
}

const FILE: &str =
    "Content-Disposition: form-data; name=\"file\"; filename=\"a; name=b.mp3\"\r\nContent-Type: audio/mpeg";
const MODEL: &str = "Content-Disposition: form-data; name=\"model\"";

#[test]
fn a_form_gives_its_model_and_keeps_every_other_byte() {
    let upper = MODEL.to_uppercase().replace("NAME", "name").replace("MODEL", "model");
    let extended = "Content-Disposition: form-data; name=\"file\"; filename*=UTF-8''%c3%bc.mp3";
    for head in [MODEL, upper.as_str(), &format!("{MODEL}\r\nContent-Type: text/plain"), &format!("{MODEL} ; a=b")] {
        for file in [FILE, extended] {
            let body = format!("{}{}--b0--\r\n", part(file, "\0\r\n\r\nID3--b"), part(head, "whisper-1"));
            let operation = form(&body).unwrap_or_else(|denial| panic!("{body:?}: {denial}"));
            assert_eq!(operation.model.as_deref(), Some("whisper-1"));
            let renamed = operation.names.clone().rename(Bytes::from(body.clone()), "large");
            assert_eq!(renamed, body.replace("whisper-1", "large"));
        }
    }
}

#[test]
fn a_form_that_can_be_read_in_two_ways_is_refused() {
    let closed = |parts: &str| format!("{parts}--b0--\r\n");
    let with = |head: &str| closed(&(part(MODEL, "allowed") + &part(head, "secret")));
    for body in [
        String::new(),
        closed(""),
        closed(&part(FILE, "no model")),
        with(MODEL),
        with("Content-Disposition: form-data; name=\"Model\""),
        with("Content-Disposition: form-data; NAME=\"model\""),
        with("Content-Disposition: form-data; name=model"),
        with("Content-Disposition: form-data; name = \"model\""),
        with("Content-Disposition: form-data; name=\"mod\\el\""),
        with("Content-Disposition: form-data; name=\"x\"; name=\"model\""),
        with("Content-Disposition: form-data; name=\"x\"; name*=utf-8''model"),
        with("Content-Disposition: form-data; name=\"x\"; name*0=\"model\""),
        with("Content-Disposition: form-data; filename=\"; name=\"; name=model"),
        with("Content-Disposition: form-data; filename=\"\\\"; name=\"x\"; name=\"model\""),
        with("Content-Disposition: form-data; a=b name=\"model\"; name=\"x\""),
        with("Content-Disposition: form-data;\r\n name=\"model\""),
        with("Content-Disposition: form-data; name=\"x\"\r\nContent-Disposition: form-data; name=\"model\""),
        with("Content-Disposition: form-data; name=\"x\"\nContent-Disposition: form-data; name=\"model\""),
        with("Content-Disposition : form-data; name=\"model\""),
        with("Content-Disposition: attachment; name=\"model\""),
        with("Content-Type: text/plain"),
        closed(&part(&format!("{MODEL}\r\nContent-Transfer-Encoding: base64"), "c2VjcmV0")),
        closed(&(part(MODEL, "allowed") + &part(FILE, &format!("a\n--b0\r\n{MODEL}\r\n\r\nsecret")))),
        closed(&(part(MODEL, "allowed") + "--b0--\r\n" + &part(MODEL, "secret"))),
        closed(&part(MODEL, "allowed").replace("--b0\r\n", "--b0 \r\n")),
        closed(&format!("preamble\r\n{}", part(MODEL, "allowed"))),
        part(MODEL, "allowed"),
        "--b0\r\n--b0--".to_owned(),
        closed(&(part(FILE, "x").repeat(300) + &part(MODEL, "allowed"))),
    ] {
        assert!(matches!(form(&body), Err(Denial::UnreadableBody(_))), "{body:?} was read");
    }
    for content_type in ["multipart/form-data", "application/json", "multipart/form-data; boundary=b0; boundary=b1"] {
        let body = closed(&part(MODEL, "allowed"));
        let endpoint = endpoint(Method::POST, "/v1/images/edits", None);
        assert!(Operation::read(endpoint, None, Some(content_type), body.as_bytes()).is_err(), "{content_type}");
    }
}

/// Any JSON value, a few levels deep.
fn value() -> impl Strategy<Value = Value> {
    let leaf = prop_oneof![
        Just(Value::Null),
        any::<bool>().prop_map(Value::from),
        any::<i64>().prop_map(Value::from),
        ".{0,12}".prop_map(Value::from)
    ];
    leaf.prop_recursive(3, 16, 4, |inner| {
        prop_oneof![
            prop::collection::vec(inner.clone(), 0..4).prop_map(Value::from),
            prop::collection::btree_map("[a-z]{1,5}", inner, 0..4).prop_map(|map| json!(map)),
        ]
    })
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 128, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn renaming_changes_one_member_of_any_object(
        before in prop::collection::btree_map("x[a-z]{0,4}", value(), 0..4),
        after in prop::collection::btree_map("y[a-z]{0,4}", value(), 0..4),
        model in prop::option::of("\\PC{0,12}"), name in "\\PC{1,12}", pretty in any::<bool>(),
    ) {
        let mut body = serde_json::Map::from_iter(before);
        body.extend(model.clone().map(|model| ("model".to_owned(), Value::from(model))));
        body.extend(after);
        let text = if pretty { serde_json::to_string_pretty(&body) } else { serde_json::to_string(&body) }.unwrap();
        let operation = read(CHAT, &text).unwrap();
        prop_assert_eq!(operation.model.as_deref(), model.as_deref());
        let renamed: Value = serde_json::from_str(&renamed(CHAT, &text, &name)).unwrap();
        body.insert("model".to_owned(), name.into());
        prop_assert_eq!(renamed, Value::from(body));
    }

    #[test]
    fn no_bytes_break_the_reading(body in prop::collection::vec(any::<u8>(), 0..200), path in prop::sample::select(vec![CHAT, AZURE, GEMINI])) {
        for content_type in ["application/json", FORM] {
            let endpoint = endpoint(Method::POST, path, None);
            let _ = Operation::read(Endpoint { body: BodyKind::Multipart, ..endpoint.clone() }, None, Some(content_type), &body);
            let _ = Operation::read(endpoint, None, Some(content_type), &body);
        }
    }
}

#[test]
fn json_that_is_called_a_form_is_json() {
    for content_type in ["application/x-www-form-urlencoded", "multipart/form-data; boundary=x", "text/plain"] {
        let read = |body: &[u8]| Operation::read(endpoint(Method::POST, CHAT, None), None, Some(content_type), body);
        let operation = read(br#"{"model":"a","x":"&model=b&"}"#).unwrap();
        assert_eq!((operation.model.as_deref(), operation.is_json()), (Some("a"), true), "{content_type}");
        assert!(read(b"model=a").is_err(), "{content_type}");
    }
    assert!(
        is_form(" Multipart/Form-Data;x") && is_form("application/X-www-form-urlencoded") && !is_form("text/plain")
    );
}

#[test]
fn a_body_that_nobody_else_holds_is_renamed_where_it_is_and_again() {
    let long = "x".repeat(100_000);
    for text in [
        format!("{{\"model\": \"m\", \"a\": \"{long}\"}}"),
        format!("{{\"a\": \"{long}\", \"model\": \"m\"}}"),
        format!("{{\"a\": \"{long}\"}}"),
    ] {
        let operation = read(CHAT, &text).unwrap();
        let mut body = bytes::BytesMut::with_capacity(text.len() + 256);
        body.extend_from_slice(text.as_bytes());
        let place = body.as_ptr();
        let (mut names, mut body) = (operation.names, body.freeze());
        for name in ["a-much-longer-name", "s", "\u{e4}", "a-much-longer-name"] {
            body = names.rename(body, name);
            let mut expected: Value = serde_json::from_str(&text).unwrap();
            expected["model"] = name.into();
            assert_eq!(serde_json::from_slice::<Value>(&body).unwrap(), expected);
        }
        assert!(text.find("model").is_none() || body.as_ptr() == place, "the body was copied");
    }
}

#[test]
fn a_stream_is_asked_for_its_usage_where_it_must_be() {
    const ASKED: &str = r#""stream_options":{"include_usage":true}"#;
    for (path, body, asked) in [
        (CHAT, r#"{"model":"m","stream":true}"#, Some(format!(r#"{{{ASKED},"model":"up","stream":true}}"#))),
        (CHAT, r#"{ "stream":true, "model":"m"}"#, Some(format!(r#"{{{ASKED}, "stream":true, "model":"up"}}"#))),
        (CHAT, r#"{"stream":true}"#, Some(format!(r#"{{"model":"up",{ASKED},"stream":true}}"#))),
        (
            "/v1/completions",
            r#"{"stream":true,"model":"m"}"#,
            Some(format!(r#"{{{ASKED},"stream":true,"model":"up"}}"#)),
        ),
        (
            CHAT,
            r#"{"stream":true,"stream_options":{"include_obfuscation":false},"model":"m"}"#,
            Some(
                r#"{"stream":true,"stream_options":{"include_obfuscation":false,"include_usage":true},"model":"up"}"#
                    .to_owned(),
            ),
        ),
        (
            CHAT,
            r#"{"model":"m","stream":true,"stream_options": {"include_usage":false}}"#,
            Some(r#"{"model":"up","stream":true,"stream_options": {"include_usage":true}}"#.to_owned()),
        ),
        (
            CHAT,
            r#"{"stream":true,"stream_options":null,"model":"m"}"#,
            Some(format!(r#"{{"stream":true,{ASKED},"model":"up"}}"#)),
        ),
        // Asked already, no stream, not to be asked so, or nonsense that the provider shall judge.
        (CHAT, r#"{"stream":true,"stream_options":{"include_usage":true},"model":"m"}"#, None),
        (CHAT, r#"{"stream":false,"model":"m"}"#, None),
        (CHAT, r#"{"stream":true,"stream_options":[],"model":"m"}"#, None),
        ("/v1/responses", r#"{"stream":true,"model":"m"}"#, None),
        ("/v1/messages", r#"{"stream":true,"model":"m"}"#, None),
    ] {
        let operation = read(path, body).unwrap();
        let mut names = operation.names.clone();
        let sent = operation.stream_usage.ask(Bytes::from(body), &mut names);
        if asked.is_none() {
            assert_eq!(sent, body);
        }
        let expected = asked.unwrap_or_else(|| body.replace(r#""model":"m""#, r#""model":"up""#));
        assert_eq!(String::from_utf8_lossy(&names.rename(sent, "up")), expected, "{body}");
    }
}

#[test]
fn the_bound_of_an_answer_has_several_names() {
    for (body, most) in [
        (r#"{"max_tokens":5}"#, Some(5)),
        (r#"{"max_completion_tokens":7,"max_tokens":5}"#, Some(7)),
        (r#"{"max_output_tokens":9}"#, Some(9)),
        (r#"{"max_tokens":null}"#, None),
        (r#"{"max_tokens":-1}"#, None),
        (r#"{"metadata":{"max_tokens":5}}"#, None),
    ] {
        assert_eq!(read(CHAT, body).unwrap().most_output, most, "{body}");
    }
}
