//! Time and allocations of each stage of the decision, and of the whole, with one thread and with two.
//!
//! `cargo bench -p portcullis-bench --bench decision [-- FILTER]`. The allocator is the one that is shipped; counting
//! costs a few nanoseconds an allocation.

use std::ops::Range;
use std::sync::LazyLock;
use std::sync::atomic::{AtomicUsize, Ordering};

use divan::{AllocProfiler, Bencher, black_box};
use http::{HeaderValue, Version};
use mimalloc::MiMalloc;
use portcullis_bench::issuer::{ALGORITHMS, Algorithm};
use portcullis_filters::credential::CredentialSlots;
use portcullis_filters::denial::Denial;
use portcullis_filters::endpoint::classify;
use portcullis_filters::path::CanonicalPath;
use portcullis_filters::policy::{AccessGroups, authorize};
use portcullis_filters::principal::Principal;
use portcullis_filters::strict::{HeadBounds, check_headers, check_raw_head};

mod fixture;
mod token_fixture;

use fixture::{DENIED_MODEL, Door, MASTER_KEY, MODEL, NOW, PATH, Request, UNKNOWN_KEY};
use token_fixture::TokenDoor;

#[global_allocator]
static ALLOCATOR: AllocProfiler<MiMalloc> = AllocProfiler::new(MiMalloc);

const KIB: usize = 1024;
const BODIES: [usize; 3] = [KIB, 100 * KIB, 5 * KIB * KIB];

fn main() {
    divan::main();
}

static DOOR: LazyLock<Door> = LazyLock::new(|| Door::new(1));

#[divan::bench(threads = [1, 2])]
fn strict_head(bencher: Bencher) {
    let request = Request::chat(&fixture::key(0), MODEL, KIB);
    let (raw, bounds) = (request.raw_head(), HeadBounds { bytes: 32 * KIB, lines: 100 });
    bencher.bench(|| {
        check_raw_head(black_box(&raw), &bounds)?;
        check_headers(black_box(&request.headers), Version::HTTP_11, &bounds)
    });
}

#[divan::bench(threads = [1, 2])]
fn path_and_classify(bencher: Bencher) {
    let request = Request::chat(&fixture::key(0), MODEL, KIB);
    bencher.bench(|| {
        let path = CanonicalPath::parse(black_box(PATH))?;
        classify(&portcullis_filters::head::RequestHead { path: &path, ..request.head() })
    });
}

#[divan::bench(threads = [1, 2])]
fn extract(bencher: Bencher) {
    let request = Request::chat(&fixture::key(0), MODEL, KIB);
    let slots = CredentialSlots::default();
    bencher.bench(|| slots.extract(black_box(&request.head())).map(|credential| credential.text.len()));
}

/// From the fields to the permit, with a body of 1 KB.
fn decide(bencher: Bencher, credential: &str, model: &str, expected: fn(&Result<(), Denial>) -> bool) {
    let request = Request::chat(credential, model, KIB);
    let endpoint = request.endpoint();
    let outcome = DOOR.decide(&request, endpoint.clone()).map(drop);
    assert!(expected(&outcome), "{outcome:?}");
    bencher.with_inputs(|| endpoint.clone()).bench_values(|endpoint| DOOR.decide(black_box(&request), endpoint));
}

#[divan::bench(threads = [1, 2])]
fn decision_virtual_key(bencher: Bencher) {
    decide(bencher, &fixture::key(0), MODEL, Result::is_ok);
}

#[divan::bench(threads = [1, 2])]
fn decision_master_key(bencher: Bencher) {
    decide(bencher, MASTER_KEY, MODEL, Result::is_ok);
}

#[divan::bench(threads = [1, 2])]
fn decision_unknown_key(bencher: Bencher) {
    decide(bencher, UNKNOWN_KEY, MODEL, |outcome| matches!(outcome, Err(Denial::UnrecognizedCredential(_))));
}

#[divan::bench(threads = [1, 2])]
fn decision_denied_model(bencher: Bencher) {
    decide(bencher, &fixture::key(0), DENIED_MODEL, |outcome| matches!(outcome, Err(Denial::ModelForbidden(_))));
}

/// From the fields to the permit, with a token that was verified before.
#[divan::bench(threads = [1, 2])]
fn decision_token_warm(bencher: Bencher) {
    static DOOR: LazyLock<TokenDoor> = LazyLock::new(|| TokenDoor::new(Algorithm::ES256, 1000));
    let request = DOOR.request(Algorithm::ES256, 0);
    let endpoint = request.endpoint();
    assert!(DOOR.decide(&request, endpoint.clone()).is_ok());
    bencher.with_inputs(|| endpoint.clone()).bench_values(|endpoint| DOOR.decide(black_box(&request), endpoint));
}

/// The same with two tokens by turns and a cache for one, so that each is read and verified.
#[divan::bench(args = ALGORITHMS)]
fn decision_token_cold(bencher: Bencher, algorithm: Algorithm) {
    let door = TokenDoor::new(algorithm, 1);
    let requests = [0, 1].map(|n| door.request(algorithm, n));
    let (endpoint, next) = (requests[0].endpoint(), AtomicUsize::new(0));
    assert!(requests.iter().all(|request| door.decide(request, endpoint.clone()).is_ok()));
    let turn = || (&requests[next.fetch_add(1, Ordering::Relaxed) % 2], endpoint.clone());
    bencher.with_inputs(turn).bench_values(|(request, endpoint)| door.decide(black_box(request), endpoint));
}

/// Who it is, with so many keys in use: each request another key, in no order.
#[divan::bench(args = [1_000, 100_000, 1_000_000], threads = [1, 2], sample_size = 1000)]
fn authenticate_keys(bencher: Bencher, keys: usize) {
    let door = Door::new(keys);
    // The requests are few beside the keys, or their own memory would be what is measured.
    let order = shuffled(0..keys);
    let next = AtomicUsize::new(0);
    let request = || {
        let mut request = Request::chat("", MODEL, 0);
        let key = fixture::key(order[next.fetch_add(1, Ordering::Relaxed) % keys]);
        let value = HeaderValue::try_from(format!("Bearer {key}")).expect("visible characters");
        request.headers.insert(http::header::AUTHORIZATION, value);
        request
    };
    bencher.with_inputs(request).bench_refs(|request| door.authenticate(request).is_ok());
}

/// Numbers of a range in an order that no cache of the processor foresees, the same in each run.
fn shuffled(range: Range<usize>) -> Vec<usize> {
    let mut numbers: Vec<usize> = range.collect();
    numbers.sort_by_key(|n| n.wrapping_mul(0x9e37_79b9_7f4a_7c15).rotate_left(32));
    numbers
}

/// Model and stream flag out of a body of so many bytes.
#[divan::bench(args = BODIES, threads = [1, 2])]
fn read_operation(bencher: Bencher, bytes: usize) {
    let request = Request::chat(&fixture::key(0), MODEL, bytes);
    let endpoint = request.endpoint();
    bencher.with_inputs(|| endpoint.clone()).bench_values(|endpoint| black_box(&request).operation(endpoint));
}

/// The provider's name for the model in place of the caller's, in a body that nobody else holds.
#[divan::bench(args = BODIES, threads = [1, 2])]
fn rename_model(bencher: Bencher, bytes: usize) {
    let request = Request::chat(&fixture::key(0), MODEL, bytes);
    let names = request.operation(request.endpoint()).expect("a chat").names;
    bencher.with_inputs(|| (names.clone(), fixture::owned(&request.body))).bench_values(|(mut names, body)| {
        let renamed = names.rename(body, "gpt-4o-mini-2024-07-18");
        (names, renamed)
    });
}

/// From the permit to one of so many deployments.
#[divan::bench(args = [1, 4], threads = [1, 2])]
fn resolve_route(bencher: Bencher, deployments: usize) {
    let request = Request::chat(&fixture::key(0), MODEL, KIB);
    let operation = request.operation(request.endpoint()).expect("a chat");
    let permit = authorize(Principal::Master, operation, &AccessGroups::default()).expect("the master may");
    let routes = fixture::routes(deployments);
    bencher.bench(|| routes.resolve(black_box(&permit), None, &[], NOW, || 3));
}
