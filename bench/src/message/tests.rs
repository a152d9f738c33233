use super::{AnswerReader, Ask, Dialect, End, Shape, Stamp, Wrong};

const NONCE: u64 = 0x00ab_cdef_0123_4567;

fn stamp(sequence: u32, of: u32) -> Stamp {
    Stamp { nonce: NONCE, received: 100, sequence, of, sent_nanos: 7 }
}

fn document(stamp: Stamp, filling: &str, end: End) -> String {
    format!(r#"{{"text":"{stamp}{filling}{end}","usage":{{}}}}"#)
}

fn good_document() -> String {
    document(stamp(0, 1), "filling", End { nonce: NONCE, filling: 7 })
}

fn event(stamp: Stamp) -> String {
    format!("data: {{\"delta\":\"{stamp}\"}}\n\n")
}

fn good_stream() -> String {
    [event(stamp(0, 3)), event(stamp(1, 3)), event(stamp(2, 3)), "data: [DONE]\n\n".to_owned()].concat()
}

#[test]
fn writes_a_body_of_the_wanted_size_with_its_nonce_and_the_model_behind_the_prompt() {
    for dialect in Dialect::ALL {
        for stream in [false, true] {
            for bytes in [1024, 1025, 100_000] {
                let shape = Shape::new(dialect, stream, bytes, "some-model");
                let body = shape.body(NONCE);
                assert_eq!((body.len(), shape.body_bytes()), (bytes, bytes), "{dialect:?}");
                assert_eq!(Ask::find(&body), Some(Ask { nonce: NONCE, stream }), "{dialect:?}");
                let json: serde_json::Value = serde_json::from_slice(&body).unwrap();
                let text = String::from_utf8(body.to_vec()).unwrap();
                if dialect == Dialect::Gemini {
                    assert!(shape.path().contains("/some-model:"), "{}", shape.path());
                    assert_eq!(shape.path().contains("stream"), stream);
                } else {
                    assert_eq!((&json["model"], json["stream"] == true), (&"some-model".into(), stream));
                    assert!(text.find("goes there").unwrap() < text.find("some-model").unwrap());
                }
            }
        }
    }
}

#[test]
fn two_bodies_differ_in_the_nonce_only() {
    let shape = Shape::new(Dialect::OpenAiChat, false, 2048, "m");
    let [one, two] = [1, u64::MAX].map(|nonce| String::from_utf8(shape.body(nonce).to_vec()).unwrap());
    assert_eq!(one.replace("0000000000000001", "ffffffffffffffff"), two);
}

#[test]
fn takes_the_right_answer_however_it_is_cut_into_pieces() {
    for (shape, answer) in
        [(false, good_document()), (true, good_stream())].map(|(stream, answer)| (chat(stream), answer))
    {
        for size in 1..answer.len() {
            let mut reader = shape.reader(NONCE, Some(100));
            let mut seen = Vec::new();
            for piece in answer.as_bytes().chunks(size) {
                reader.read(piece, |stamp| seen.push(stamp));
            }
            let of = if shape.streams() { 3 } else { 1 };
            assert_eq!(seen, (0..of).map(|sequence| stamp(sequence, of)).collect::<Vec<_>>());
            assert_eq!(reader.finish(), Ok(()), "pieces of {size}");
        }
    }
}

#[test]
fn no_beginning_of_an_answer_passes_for_the_whole() {
    for (shape, answer) in [(chat(false), good_document()), (chat(true), good_stream())] {
        for length in 0..answer.len() {
            let verdict = shape.check(NONCE, Some(100), 200, &answer.as_bytes()[..length]);
            assert!(matches!(verdict, Err(Wrong::Cut | Wrong::Unmarked)), "{length} bytes: {verdict:?}");
        }
    }
}

#[test]
fn names_what_is_wrong() {
    let (plain, stream) = (chat(false), chat(true));
    let end = End { nonce: NONCE, filling: 7 };
    let other = Stamp { nonce: 1, ..stamp(0, 1) };
    let done = "data: [DONE]\n\n";
    let cases = [
        (&plain, 503, good_document(), Wrong::Status(503)),
        (&plain, 200, r#"{"text":"hello"}"#.to_owned(), Wrong::Unmarked),
        (&plain, 200, document(other, "filling", end), Wrong::Foreign),
        (&plain, 200, document(stamp(0, 1), "filling", End { nonce: 1, ..end }), Wrong::Foreign),
        (&plain, 200, document(Stamp { received: 99, ..stamp(0, 1) }, "filling", end), Wrong::Altered),
        (&plain, 200, document(stamp(0, 1), "filing", end), Wrong::Altered),
        (&stream, 200, [event(stamp(0, 2)), done.to_owned()].concat(), Wrong::Cut),
        (&stream, 200, [event(stamp(0, 3)), event(stamp(2, 3)), done.to_owned()].concat(), Wrong::Disordered),
        (&stream, 200, [event(stamp(0, 2)), event(stamp(0, 2)), done.to_owned()].concat(), Wrong::Disordered),
        (&stream, 200, [event(stamp(0, 2)), event(other), done.to_owned()].concat(), Wrong::Foreign),
    ];
    for (shape, status, answer, wrong) in cases {
        assert_eq!(shape.check(NONCE, Some(100), status, answer.as_bytes()), Err(wrong), "{answer}");
    }
}

#[test]
fn a_target_that_writes_bodies_anew_may_change_their_length() {
    let shape = chat(false);
    assert_eq!(shape.check(NONCE, Some(99), 200, good_document().as_bytes()), Err(Wrong::Altered));
    assert_eq!(shape.check(NONCE, None, 200, good_document().as_bytes()), Ok(()));
}

#[test]
fn keeps_little_of_a_long_answer() {
    let filling = "x".repeat(1 << 20);
    let answer = document(stamp(0, 1), &filling, End { nonce: NONCE, filling: 1 << 20 });
    let mut reader: AnswerReader = chat(false).reader(NONCE, Some(100));
    for piece in answer.as_bytes().chunks(4096) {
        reader.read(piece, |_| {});
        assert!(reader.unread.len() < 4096, "{} bytes kept", reader.unread.len());
    }
    assert_eq!(reader.finish(), Ok(()));
}

fn chat(stream: bool) -> Shape {
    Shape::new(Dialect::OpenAiChat, stream, 0, "m")
}
