//! Runs that never took place: every figure here is invented to show how figures are reported.

use super::{Verdict, compare, markdown, plots, read_json, table, write_json};
use crate::result::{Machine, Measure, Run, Sample, ScenarioResult, TargetResult};

fn invented_target(name: &str, samples: &[impl AsRef<[(Measure, f64)]>]) -> TargetResult {
    let samples = samples.iter().map(|sample| sample.as_ref().iter().copied().collect::<Sample>()).collect();
    TargetResult { target: name.to_owned(), version: "0.0".to_owned(), absent: None, samples }
}

fn invented_cpu(name: &str, repetitions: &[f64]) -> TargetResult {
    let samples: Vec<_> = repetitions.iter().map(|cpu| [(Measure::CpuPerRequest, *cpu)]).collect();
    invented_target(name, &samples)
}

fn invented_run(scenarios: Vec<(&str, Vec<TargetResult>)>) -> Run {
    let scenarios = scenarios.into_iter().map(|(name, targets)| ScenarioResult {
        name: name.to_owned(),
        about: "invented for a test".to_owned(),
        targets,
        notes: Vec::new(),
    });
    let machine = Machine {
        processor: "Abacus".to_owned(),
        cores: 2,
        kernel: "0.1".to_owned(),
        started: "2026-01-01T00:00:00Z".to_owned(),
        commit: "abc1234+".to_owned(),
    };
    Run { machine, set: "short".to_owned(), scenarios: scenarios.collect() }
}

/// One of everything that a table can hold.
fn invented_example() -> Run {
    use Measure::{AddedP99, CpuPerRequest, Throughput, Wrong};
    let portcullis = [
        [(CpuPerRequest, 44.0), (Throughput, 21_000.0), (AddedP99, 0.31), (Wrong, 0.0)],
        [(CpuPerRequest, 99.0), (Throughput, 20_000.0), (AddedP99, 0.29), (Wrong, 0.0)],
        [(CpuPerRequest, 46.0), (Throughput, 20_500.0), (AddedP99, -0.02), (Wrong, 2.0)],
    ];
    let passthrough = [
        [(CpuPerRequest, 40.0), (Throughput, 25_000.0), (AddedP99, 0.20), (Wrong, 0.0)],
        [(CpuPerRequest, 90.0), (Throughput, 25_000.0), (AddedP99, 0.21), (Wrong, 0.0)],
        [(CpuPerRequest, 40.0), (Throughput, 25_000.0), (AddedP99, 0.19), (Wrong, 0.0)],
    ];
    let mut absent = invented_cpu("litellm", &[]);
    absent.absent = Some("no program `litellm`".to_owned());
    let targets = vec![
        invented_target("provider", &[[(Throughput, 50_000.0), (Wrong, 0.0)]; 3]),
        invented_target("portcullis", &portcullis),
        invented_target("passthrough", &passthrough),
        absent,
    ];
    let mut run = invented_run(vec![("key_warm", targets)]);
    run.scenarios[0].notes.push("bound: p99 of 5 ms".to_owned());
    run
}

#[test]
fn the_table_shows_medians_spreads_ratios_the_ceiling_and_who_is_absent() {
    let expected = "\
Abacus, 2 cores, Linux 0.1
started 2026-01-01T00:00:00Z, commit abc1234+
set short, at most 3 repetitions; median, lowest..highest
provider: 0.0
portcullis: 0.0
passthrough: 0.0

key_warm: invented for a test
┌────────────────────────────────────────────────────────────────────────────┐
│                             portcullis    passthrough   provider (ceiling) │
╞════════════════════════════════════════════════════════════════════════════╡
│ CPU per request, µs                 46             40                      │
│                                 44..99         40..90                      │
│   over passthrough               ×1.10                                     │
│                           ×1.10..×1.15                                     │
│ throughput, /s                  20,500         25,000               50,000 │
│                         20,000..21,000                                     │
│   over passthrough               ×0.82                                     │
│                           ×0.80..×0.84                                     │
│ added latency p99, ms            0.290          0.200                      │
│                          -0.020..0.310   0.190..0.210                      │
│ wrong                                0              0                    0 │
│                                   0..2                                     │
└────────────────────────────────────────────────────────────────────────────┘
  WRONG: portcullis: 2 requests
  absent: litellm: no program `litellm`
  note: bound: p99 of 5 ms

┌──────────────────────────────────────────────────────────────────────────────────────────────────────────────────┐
│ portcullis   CPU per request, µs   over passthrough   added latency p50, ms   added latency p99, ms   wrong, all │
╞══════════════════════════════════════════════════════════════════════════════════════════════════════════════════╡
│ key_warm                      46              ×1.10                                           0.290            2 │
│                           44..99       ×1.10..×1.15                                   -0.020..0.310              │
└──────────────────────────────────────────────────────────────────────────────────────────────────────────────────┘
";
    assert_eq!(table(&invented_example()), expected);
}

#[test]
fn the_markdown_holds_what_the_table_holds() {
    let expected = "\
- Abacus, 2 cores, Linux 0.1
- started 2026-01-01T00:00:00Z, commit abc1234+
- set short, at most 3 repetitions; median, lowest..highest
- provider: 0.0
- portcullis: 0.0
- passthrough: 0.0

| portcullis | CPU per request, µs | over passthrough | added latency p50, ms | added latency p99, ms | wrong, all |
| --- | ---: | ---: | ---: | ---: | ---: |
| key_warm | 46 (44..99) | ×1.10 (×1.10..×1.15) |  | 0.290 (-0.020..0.310) | 2 |

### key_warm

invented for a test

|  | portcullis | passthrough | provider (ceiling) |
| --- | ---: | ---: | ---: |
| CPU per request, µs | 46 (44..99) | 40 (40..90) |  |
| over passthrough | ×1.10 (×1.10..×1.15) |  |  |
| throughput, /s | 20,500 (20,000..21,000) | 25,000 | 50,000 |
| over passthrough | ×0.82 (×0.80..×0.84) |  |  |
| added latency p99, ms | 0.290 (-0.020..0.310) | 0.200 (0.190..0.210) |  |
| wrong | 0 (0..2) | 0 | 0 |

- WRONG: portcullis: 2 requests
- absent: litellm: no program `litellm`
- note: bound: p99 of 5 ms
";
    assert_eq!(markdown(&invented_example()), expected);
}

#[test]
fn a_ratio_is_the_median_of_pairs_and_not_the_ratio_of_medians() {
    // The machine was twice as slow in the first repetition: pairs say 1.5, 1.1, 1.1; the medians say 33 / 40.
    let run = invented_run(vec![(
        "key_warm",
        vec![invented_cpu("portcullis", &[120.0, 33.0, 22.0]), invented_cpu("passthrough", &[80.0, 30.0, 20.0])],
    )]);
    assert!(table(&run).contains("×1.10..×1.50"), "{}", table(&run));
    assert!(markdown(&run).contains("| over passthrough | ×1.10 (×1.10..×1.50) |  |"), "{}", markdown(&run));
}

#[test]
fn a_ratio_over_nothing_is_left_out() {
    let run = invented_run(vec![(
        "key_warm",
        vec![invented_cpu("portcullis", &[1.0, 1.0]), invented_cpu("passthrough", &[0.0, 0.0])],
    )]);
    assert!(
        table(&run).contains("CPU per request") && !table(&run).contains("│   over passthrough"),
        "{}",
        table(&run)
    );
}

#[test]
fn a_verdict_is_given_only_when_the_spreads_lie_apart() {
    let table: [(&[f64], &[f64], &str); 6] = [
        (&[40.0, 41.0, 42.0], &[30.0, 31.0, 32.0], "faster"),
        (&[30.0, 31.0, 32.0], &[40.0, 41.0, 42.0], "slower"),
        (&[30.0, 31.0, 40.0], &[40.0, 41.0, 42.0], "same"),
        (&[30.0, 31.0, 32.0], &[31.5, 31.5, 31.5], "same"),
        (&[40.0, 41.0], &[30.0, 31.0, 32.0], "too few"),
        (&[40.0], &[30.0], "too few"),
    ];
    for (before, after, word) in table {
        let run = |cpu| invented_run(vec![("key_warm", vec![invented_cpu("portcullis", cpu)])]);
        let comparison = compare(&run(before), &run(after));
        assert_eq!(comparison.lines[0].word(), word, "{before:?} {after:?}");
        assert!(comparison.to_string().contains(word), "{comparison}");
        assert_eq!(comparison.warnings, Vec::<String>::new());
    }
}

#[test]
fn more_throughput_is_better_and_less_memory_is_smaller() {
    for (measure, before, after, verdict, word) in [
        (Measure::Throughput, 10.0, 20.0, Verdict::Better, "faster"),
        (Measure::Throughput, 20.0, 10.0, Verdict::Worse, "slower"),
        (Measure::MemoryPeak, 20.0, 10.0, Verdict::Better, "smaller"),
        (Measure::MemoryPeak, 10.0, 20.0, Verdict::Worse, "larger"),
        (Measure::Wrong, 0.0, 1.0, Verdict::Worse, "more"),
    ] {
        let run = |value| invented_run(vec![("s", vec![invented_target("portcullis", &[[(measure, value)]; 3])])]);
        let comparison = compare(&run(before), &run(after));
        assert_eq!((comparison.lines[0].verdict, comparison.lines[0].word()), (verdict, word), "{measure:?}");
    }
}

#[test]
fn a_comparison_says_what_speaks_against_it() {
    let before = invented_run(vec![
        ("key_warm", vec![invented_cpu("passthrough", &[30.0, 31.0, 32.0]), invented_cpu("nginx", &[1.0, 1.0, 1.0])]),
        ("master", vec![]),
    ]);
    let mut after = invented_run(vec![
        ("key_warm", vec![invented_cpu("passthrough", &[20.0, 20.5, 21.0]), invented_cpu("haproxy", &[1.0, 1.0, 1.0])]),
        ("key_cold", vec![]),
    ]);
    after.machine.cores = 64;
    let expected = [
        "another number of cores: 2, then 64",
        "key_warm: haproxy ran in the second run only",
        "key_warm: nginx ran in the first run only",
        "key_cold is in the second run only",
        "master is in the first run only",
        "key_warm: CPU per request of passthrough itself changed by -33.9 %",
    ];
    assert_eq!(compare(&before, &after).warnings, expected);
}

#[test]
fn a_run_is_read_as_it_was_written() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("results.json");
    write_json(&invented_example(), &path).unwrap();
    assert_eq!(table(&read_json(&path).unwrap()), table(&invented_example()));
    let missing = read_json(&dir.path().join("none.json")).unwrap_err();
    assert!(format!("{missing:#}").contains("none.json"), "{missing:#}");
}

#[test]
fn plots_are_drawn_of_what_was_measured_and_of_nothing_else() {
    let dir = tempfile::tempdir().unwrap();
    let names = |run: &Run| -> Vec<String> {
        let paths = plots(run, dir.path()).unwrap();
        paths.iter().map(|path| path.file_name().unwrap().to_string_lossy().into_owned()).collect()
    };
    assert_eq!(names(&invented_example()), ["cpu.svg", "latency.svg", "throughput.svg"]);
    let cpu = std::fs::read_to_string(dir.path().join("cpu.svg")).unwrap();
    for shown in ["portcullis", "passthrough", "key_warm", "CPU per request, µs", ">\n46\n"] {
        assert!(cpu.contains(shown), "{shown}");
    }
    let step = |cpu| vec![invented_cpu("portcullis", &[cpu; 3]), invented_cpu("litellm", &[cpu * 100.0; 3])];
    let growing = invented_run(vec![("keys_1e3", step(40.0)), ("keys_1e6", step(44.0))]);
    assert_eq!(names(&growing), ["cpu.svg", "scaling.svg"]);
    assert_eq!(names(&invented_run(vec![("keys_1e3", vec![])])), Vec::<String>::new());
}
