use super::*;
use bytes::Bytes;

/// An answer as providers write it, its type, and what it took.
struct Case(&'static str, &'static str, Option<Usage>);

const JSON: &str = "application/json";
const SSE: &str = "text/event-stream; charset=utf-8";

const fn usage(input: u64, cached: u64, cache_written: u64, output: u64, reasoning: u64) -> Option<Usage> {
    Some(Usage { input, cached, cache_written, output, reasoning })
}

const CASES: &[Case] = &[
    // OpenAI, chat.
    Case(
        JSON,
        r#"{"id":"chatcmpl-1","object":"chat.completion","model":"gpt-4o","choices":[{"index":0,"message":{"role":"assistant",
        "content":"a \"usage\": {\"prompt_tokens\": 9999} b\\","tool_calls":[{"id":"c","type":"function","function":{"name":"f",
        "arguments":"{\"usage\":{\"prompt_tokens\":9999}}"}}]},"finish_reason":"stop"}],"usage":{"prompt_tokens":19,
        "completion_tokens":300,"total_tokens":319,"prompt_tokens_details":{"cached_tokens":12,"audio_tokens":0},
        "completion_tokens_details":{"reasoning_tokens":256,"audio_tokens":0,"accepted_prediction_tokens":0}},
        "system_fingerprint":"fp"}"#,
        usage(19, 12, 0, 300, 256),
    ),
    Case(
        SSE,
        "data: {\"id\":\"c\",\"object\":\"chat.completion.chunk\",\"choices\":[{\"index\":0,\"delta\":{\"role\":\"assistant\",\"content\":\"\"},\"finish_reason\":null}],\"usage\":null}\n\n\
         data: {\"id\":\"c\",\"choices\":[{\"index\":0,\"delta\":{\"content\":\"Hi\\\"\\\\\"},\"finish_reason\":null}],\"usage\":null}\n\n\
         data: {\"id\":\"c\",\"choices\":[],\"usage\":{\"prompt_tokens\":7,\"completion_tokens\":2,\"total_tokens\":9,\"prompt_tokens_details\":{\"cached_tokens\":3},\"completion_tokens_details\":{\"reasoning_tokens\":1}}}\n\n\
         data: [DONE]\n\n",
        usage(7, 3, 0, 2, 1),
    ),
    // A compatible server that says it in every event, the last word counting, with CRLF.
    Case(
        SSE,
        ": ping\r\ndata:{\"choices\":[{\"delta\":{\"content\":\"a\"}}],\"usage\":{\"prompt_tokens\":5,\"completion_tokens\":1}}\r\n\r\n\
         data:{\"choices\":[{\"delta\":{\"content\":\"b\"}}],\"usage\":{\"prompt_tokens\":5,\"completion_tokens\":2}}\r\n\r\ndata: [DONE]\r\n\r\n",
        usage(5, 0, 0, 2, 0),
    ),
    // One document over several lines of data.
    Case(
        SSE,
        "event: x\ndata: {\"choices\":[],\ndata: \"usage\":\ndata: {\"prompt_tokens\": 4.0,\ndata: \"completion_tokens\":6}}\n\n",
        usage(4, 0, 0, 6, 0),
    ),
    // OpenAI, embeddings: nothing is made.
    Case(
        JSON,
        r#"{"object":"list","data":[{"object":"embedding","index":0,"embedding":[0.0023,-0.009,1e-5]}],"model":"e","usage":{"prompt_tokens":8,"total_tokens":8}}"#,
        usage(8, 0, 0, 0, 0),
    ),
    // OpenAI, responses.
    Case(
        JSON,
        r#"{"id":"resp_1","object":"response","status":"completed","output":[{"type":"message","content":[{"type":"output_text","text":"Hi"}]}],
        "usage":{"input_tokens":36,"input_tokens_details":{"cached_tokens":16},"output_tokens":87,"output_tokens_details":{"reasoning_tokens":64},"total_tokens":123},
        "user":null,"metadata":{"usage":"{}"}}"#,
        usage(36, 16, 0, 87, 64),
    ),
    Case(
        SSE,
        "event: response.created\ndata: {\"type\":\"response.created\",\"response\":{\"id\":\"r\",\"usage\":null}}\n\n\
         event: response.output_text.delta\ndata: {\"type\":\"response.output_text.delta\",\"delta\":\"Hi\"}\n\n\
         event: response.completed\ndata: {\"type\":\"response.completed\",\"response\":{\"id\":\"r\",\"output\":[{\"usage\":{\"input_tokens\":9999}}],\
         \"usage\":{\"input_tokens\":37,\"input_tokens_details\":{\"cached_tokens\":0},\"output_tokens\":11,\"output_tokens_details\":{\"reasoning_tokens\":0},\"total_tokens\":48}}}\n\n",
        usage(37, 0, 0, 11, 0),
    ),
    // OpenAI, images and transcriptions count as responses do, or in seconds.
    Case(
        JSON,
        r#"{"created":1,"data":[{"b64_json":"AAAA"}],"usage":{"total_tokens":100,"input_tokens":50,"output_tokens":50,"input_tokens_details":{"text_tokens":10,"image_tokens":40}}}"#,
        usage(50, 0, 0, 50, 0),
    ),
    Case(JSON, r#"{"text":"hello","usage":{"type":"duration","seconds":12}}"#, usage(0, 0, 0, 0, 0)),
    // Anthropic: what the cache took is beside the input.
    Case(
        JSON,
        r#"{"id":"msg_1","type":"message","role":"assistant","content":[{"type":"tool_use","id":"t","name":"n","input":{"usage":{"input_tokens":9999}}}],
        "stop_reason":"end_turn","usage":{"input_tokens":10,"cache_creation_input_tokens":200,"cache_read_input_tokens":3000,"output_tokens":25,
        "cache_creation":{"ephemeral_5m_input_tokens":200,"ephemeral_1h_input_tokens":0},"service_tier":"standard"}}"#,
        usage(3210, 3000, 200, 25, 0),
    ),
    Case(
        SSE,
        "event: message_start\ndata: {\"type\":\"message_start\",\"message\":{\"id\":\"m\",\"content\":[],\"usage\":{\"input_tokens\":25,\"cache_read_input_tokens\":5,\"output_tokens\":1}}}\n\n\
         event: ping\ndata: {\"type\": \"ping\"}\n\n\
         event: content_block_delta\ndata: {\"type\":\"content_block_delta\",\"index\":0,\"delta\":{\"type\":\"text_delta\",\"text\":\"Hello\"}}\n\n\
         event: message_delta\ndata: {\"type\":\"message_delta\",\"delta\":{\"stop_reason\":\"end_turn\"},\"usage\":{\"output_tokens\":15}}\n\n\
         event: message_stop\ndata: {\"type\":\"message_stop\"}\n\n",
        usage(30, 5, 0, 15, 0),
    ),
    // Gemini: thoughts are beside the candidates, the cached part is within the prompt.
    Case(
        JSON,
        r#"{"candidates":[{"content":{"parts":[{"functionCall":{"name":"f","args":{"usageMetadata":{"promptTokenCount":9999}}}}],"role":"model"}}],
        "usageMetadata":{"promptTokenCount":40,"cachedContentTokenCount":30,"candidatesTokenCount":8,"thoughtsTokenCount":100,"toolUsePromptTokenCount":2,"totalTokenCount":150},
        "modelVersion":"gemini-2.5-pro"}"#,
        usage(42, 30, 0, 108, 100),
    ),
    Case(
        SSE,
        "data: {\"candidates\":[{\"content\":{\"parts\":[{\"text\":\"a\"}]}}],\"usageMetadata\":{\"promptTokenCount\":4,\"totalTokenCount\":4}}\r\n\r\n\
         data: {\"candidates\":[{\"content\":{\"parts\":[{\"text\":\"b\"}]},\"finishReason\":\"STOP\"}],\"usageMetadata\":{\"promptTokenCount\":4,\"candidatesTokenCount\":2,\"totalTokenCount\":6}}\r\n\r\n",
        usage(4, 0, 0, 2, 0),
    ),
    // Gemini without `alt=sse`: a list that grows.
    Case(
        JSON,
        r#"[{"candidates":[{"content":{"parts":[{"text":"a"}]}}],"usageMetadata":{"promptTokenCount":4}}
        ,{"candidates":[],"usageMetadata":{"promptTokenCount":4,"candidatesTokenCount":3}}]"#,
        usage(4, 0, 0, 3, 0),
    ),
    // No usage, or none that can be read.
    Case(JSON, r#"{"error":{"message":"usage","usage":{"prompt_tokens":1}}}"#, None),
    Case(JSON, r#"{"usage":null,"choices":[]}"#, None),
    Case(JSON, r#"{"usage":"{\"prompt_tokens\":1}"}"#, None),
    Case(JSON, r#"{"usage":[{"prompt_tokens":1}]}"#, None),
    Case(
        JSON,
        r#"{"usage":{"prompt_tokens":-5,"completion_tokens":"7","prompt_tokens_details":null}}"#,
        usage(0, 0, 0, 0, 0),
    ),
    Case("audio/mpeg", r#"{"usage":{"prompt_tokens":1}}"#, None),
    Case(JSON, "}}]]{\"usage\":{", None),
    Case(JSON, "", None),
];

fn metered(content_type: &str, parts: &[&[u8]]) -> Option<Usage> {
    let mut meter = UsageMeter::new(Some(content_type));
    parts.iter().for_each(|part| meter.observe(part));
    meter.said()
}

#[test]
fn every_vocabulary_is_read_wherever_the_answer_is_cut() {
    for Case(content_type, answer, expected) in CASES {
        let answer = answer.as_bytes();
        assert_eq!(metered(content_type, &[answer]), *expected, "{}", String::from_utf8_lossy(answer));
        for at in 0..=answer.len() {
            let (before, after) = answer.split_at(at);
            assert_eq!(metered(content_type, &[before, after]), *expected, "cut at {at}");
        }
        let bytes: Vec<&[u8]> = answer.chunks(1).collect();
        assert_eq!(metered(content_type, &bytes), *expected, "byte by byte");
    }
}

#[test]
fn a_stream_says_where_it_ends() {
    for (stream, last) in [
        ("data: {}\n\ndata: [DONE]\n", true),
        ("data:[DONE]\r\n", true),
        ("data: [DONE", false),
        ("data: {\"delta\":\"[DONE]\"}\n\n", false),
        ("event: message_stop\ndata: {}\n\n", true),
        ("event: message_stop\ndata: {}\n", false),
        ("event: message_delta\ndata: {}\n\n", false),
        ("event: response.incomplete\ndata: {}\n\n", true),
        ("event: response.completed_or_not\ndata: {}\n\n", false),
    ] {
        for at in 0..=stream.len() {
            let mut meter = UsageMeter::new(Some(SSE));
            meter.observe(&stream.as_bytes()[..at]);
            meter.observe(&stream.as_bytes()[at..]);
            assert_eq!(meter.has_ended(), last, "{stream:?} cut at {at}");
        }
    }
}

#[test]
fn what_nobody_counts_is_taken_by_the_length_of_its_texts() {
    for (body, tokens) in [
        (r#"{"model":"a-long-name-that-counts-nothing","messages":[{"role":"user","content":"12345678"}]}"#, 2),
        (r#"{"input":["1234","12345"],"user":"12345678"}"#, 3),
        (
            r#"{"messages":[{"content":[{"type":"text","text":"1234"},{"type":"image_url","image_url":{"url":"data:12345678"}}]}]}"#,
            1,
        ),
        (r#"{"contents":[{"parts":[{"text":"1234"},{"inlineData":{"data":"1234567890"}}]}]}"#, 1),
        (r#"{"system":"1234","content":"text"}"#, 2),
        ("", 0),
        ("not json", 0),
    ] {
        assert_eq!(estimate_input(body.as_bytes()), tokens, "{body}");
    }
    let mut meter = UsageMeter::new(Some(SSE));
    meter.observe(b"data: {\"choices\":[{\"delta\":{\"content\":\"12345678\"}}]}\n\ndata: {\"choices\":[{\"delta\":{\"content\":\"1\"}");
    assert_eq!((meter.said(), meter.estimated_output()), (None, 3));
}

/// The usage that was not asked for is gone, every other byte is as it was, wherever the stream is cut.
#[test]
fn a_hidden_usage_leaves_everything_else_as_it_was() {
    let first = "data: {\"choices\":[{\"delta\":{\"content\":\"\\n\\n\"}}],\"usage\":null}\n\n";
    let filtered = "data: {\"choices\":[],\"prompt_filter_results\":[]}\n\n";
    let with_choice = "data: {\"choices\":[{\"delta\":{}}],\"usage\":{\"prompt_tokens\":1}}\n\n";
    let last = "data: {\"choices\":[],\"usage\":{\"prompt_tokens\":1}}\n\n";
    for (stream, expected) in [
        (
            [filtered, first, with_choice, last, "data: [DONE]\n\n"].concat(),
            [filtered, first, with_choice, "data: [DONE]\n\n"].concat(),
        ),
        (
            [first, &last.replace('\n', "\r\n"), "data: [DONE]\r\n\r\n"].concat(),
            [first, "data: [DONE]\r\n\r\n"].concat(),
        ),
        ([": ping\n\n", "data: {\"choices\":[],\ndata: \"usage\":{}}\n\n", "x"].concat(), ": ping\n\nx".to_owned()),
        ("data: {\"usage\"".to_owned(), "data: {\"usage\"".to_owned()),
    ] {
        for at in 0..=stream.len() {
            let mut hidden = HiddenUsage::default();
            let (before, after) = stream.split_at(at);
            let passed = [
                hidden.pass(&Bytes::copy_from_slice(before.as_bytes()), false),
                hidden.pass(&Bytes::copy_from_slice(after.as_bytes()), true),
            ];
            assert_eq!(String::from_utf8_lossy(&passed.concat()), expected, "cut at {at}");
        }
    }
    // An event goes on as soon as it is complete, and one without end is not held without bound.
    let mut hidden = HiddenUsage::default();
    assert_eq!(hidden.pass(&Bytes::from_static(b"data: {\"a\":1}\n\ndata: {\"usage\""), false), "data: {\"a\":1}\n\n");
    assert!(hidden.pass(&Bytes::from(vec![b'x'; 65 * 1024]), false).len() > 65 * 1024);
}
