//! Instructions of each stage of the decision, counted by callgrind: the same on a busy machine as on a quiet one, so
//! that two commits can be compared (`scripts/instructions-compare`).
//!
//! Needs valgrind and `gungraun-runner`; without them it says so and succeeds, so that `cargo bench` goes on.

use std::process::{Command, ExitCode, Stdio};

use mimalloc::MiMalloc;

mod fixture;

#[global_allocator]
static ALLOCATOR: MiMalloc = MiMalloc;

fn main() -> ExitCode {
    for (program, source) in [(runner(), "cargo install gungraun-runner"), ("valgrind", "the system's packages")] {
        let silent = Command::new(program).arg("--version").stdout(Stdio::null()).stderr(Stdio::null()).status();
        if silent.is_err() {
            eprintln!("instructions: not run, {program} is absent (it comes from {source})");
            return ExitCode::SUCCESS;
        }
    }
    counted::run();
    ExitCode::SUCCESS
}

/// The program that starts valgrind, where the library looks for it.
fn runner() -> &'static str {
    option_env!("GUNGRAUN_RUNNER").unwrap_or("gungraun-runner")
}

mod counted {
    use std::hint::black_box;

    use bytes::Bytes;
    use gungraun::{library_benchmark, library_benchmark_group};
    use http::Version;
    use portcullis_filters::credential::CredentialSlots;
    use portcullis_filters::denial::Denial;
    use portcullis_filters::endpoint::{Endpoint, classify};
    use portcullis_filters::head::RequestHead;
    use portcullis_filters::operation::{ModelNames, Operation};
    use portcullis_filters::path::CanonicalPath;
    use portcullis_filters::policy::{AccessGroups, Permit, authorize};
    use portcullis_filters::principal::Principal;
    use portcullis_filters::route::{Route, RouteTable};
    use portcullis_filters::strict::{HeadBounds, check_headers, check_raw_head};

    use super::fixture::{self, DENIED_MODEL, Door, MASTER_KEY, MODEL, NOW, PATH, Request, UNKNOWN_KEY};

    const KIB: usize = 1024;
    const BOUNDS: HeadBounds = HeadBounds { bytes: 32 * KIB, lines: 100 };

    pub(super) fn run() {
        main();
    }

    fn chat(bytes: usize) -> Request {
        Request::chat(&fixture::key(0), MODEL, bytes)
    }

    #[library_benchmark]
    #[bench::chat(setup = raw_and_fields)]
    fn strict_head((raw, request): (Vec<u8>, Request)) -> Result<(), Denial> {
        check_raw_head(black_box(&raw), &BOUNDS)?;
        check_headers(black_box(&request.headers), Version::HTTP_11, &BOUNDS)
    }

    fn raw_and_fields() -> (Vec<u8>, Request) {
        let request = chat(KIB);
        (request.raw_head(), request)
    }

    #[library_benchmark]
    #[bench::chat(args = (KIB), setup = chat)]
    fn path_and_classify(request: Request) -> Result<Endpoint, Denial> {
        let path = CanonicalPath::parse(black_box(PATH))?;
        classify(&RequestHead { path: &path, ..request.head() })
    }

    #[library_benchmark]
    #[bench::chat(args = (KIB), setup = chat)]
    fn extract(request: Request) -> usize {
        let slots = CredentialSlots::default();
        slots.extract(black_box(&request.head())).map_or(0, |credential| credential.text.len())
    }

    #[library_benchmark]
    #[bench::virtual_key(args = (&fixture::key(0), MODEL), setup = door)]
    #[bench::master_key(args = (MASTER_KEY, MODEL), setup = door)]
    #[bench::unknown_key(args = (UNKNOWN_KEY, MODEL), setup = door)]
    #[bench::denied_model(args = (&fixture::key(0), DENIED_MODEL), setup = door)]
    fn decision((door, request, endpoint): (Door, Request, Endpoint)) -> (Result<Permit, Denial>, Door, Request) {
        (door.decide(black_box(&request), endpoint), door, request)
    }

    fn door(credential: &str, model: &str) -> (Door, Request, Endpoint) {
        let (door, request) = (Door::new(1000), Request::chat(credential, model, KIB));
        let endpoint = request.endpoint();
        // What is done once in a process is not the request's.
        for _ in 0..10 {
            let _ = black_box(door.decide(&request, endpoint.clone()));
        }
        (door, request, endpoint)
    }

    #[library_benchmark]
    #[bench::of_1k(args = (KIB), setup = request_and_endpoint)]
    #[bench::of_100k(args = (100 * KIB), setup = request_and_endpoint)]
    #[bench::of_5m(args = (5 * KIB * KIB), setup = request_and_endpoint)]
    fn read_operation((request, endpoint): (Request, Endpoint)) -> (Result<Operation, Denial>, Request) {
        (request.operation(endpoint), request)
    }

    fn request_and_endpoint(bytes: usize) -> (Request, Endpoint) {
        let request = chat(bytes);
        let endpoint = request.endpoint();
        (request, endpoint)
    }

    #[library_benchmark]
    #[bench::of_1k(args = (KIB), setup = names_and_body)]
    #[bench::of_5m(args = (5 * KIB * KIB), setup = names_and_body)]
    fn rename_model((mut names, body): (ModelNames, Bytes)) -> (Bytes, ModelNames) {
        (names.rename(body, "gpt-4o-mini-2024-07-18"), names)
    }

    fn names_and_body(bytes: usize) -> (ModelNames, Bytes) {
        let request = chat(bytes);
        let names = request.operation(request.endpoint()).expect("a chat").names;
        (names, fixture::owned(&request.body))
    }

    #[library_benchmark]
    #[bench::of_one(args = (1), setup = permit_and_routes)]
    #[bench::of_four(args = (4), setup = permit_and_routes)]
    fn resolve_route((permit, routes): (Permit, RouteTable)) -> (Result<Route, Denial>, Permit, RouteTable) {
        (routes.resolve(black_box(&permit), None, &[], NOW, || 3), permit, routes)
    }

    fn permit_and_routes(deployments: usize) -> (Permit, RouteTable) {
        let request = chat(KIB);
        let operation = request.operation(request.endpoint()).expect("a chat");
        let permit = authorize(Principal::Master, operation, &AccessGroups::default()).expect("the master may");
        (permit, fixture::routes(deployments))
    }

    library_benchmark_group!(
        name = stages;
        benchmarks = strict_head, path_and_classify, extract, decision, read_operation, rename_model, resolve_route
    );

    gungraun::main!(library_benchmark_groups = stages);
}
