//! Says what was measured where, so that two results that cannot be compared say so themselves.

use crate::process::Cores;
use crate::result::Machine;
use procfs::{CpuInfo, Current};
use std::process::Command;
use time::OffsetDateTime;
use time::format_description::well_known::Rfc3339;

/// What cannot be found out is called unknown.
pub(super) fn describe(cores: &Cores) -> Machine {
    let unknown = || "unknown".to_owned();
    let processor = CpuInfo::current().ok().and_then(|info| info.model_name(0).map(str::to_owned));
    let kernel = std::fs::read_to_string("/proc/sys/kernel/osrelease").map(|release| release.trim().to_owned());
    Machine {
        processor: processor.unwrap_or_else(unknown),
        cores: cores.count(),
        kernel: kernel.unwrap_or_else(|_| unknown()),
        started: OffsetDateTime::now_utc().format(&Rfc3339).unwrap_or_else(|_| unknown()),
        commit: commit().unwrap_or_else(unknown),
    }
}

/// The commit of the tree that this was built in, `+` behind it if there are changes.
fn commit() -> Option<String> {
    let git = |arguments: &[&str]| {
        let output = Command::new("git").arg("-C").arg(env!("CARGO_MANIFEST_DIR")).args(arguments).output().ok()?;
        output.status.success().then(|| String::from_utf8_lossy(&output.stdout).trim().to_owned())
    };
    let head = git(&["rev-parse", "--short=12", "HEAD"])?;
    let changed = !git(&["status", "--porcelain", "--untracked-files=no"])?.is_empty();
    Some(if changed { head + "+" } else { head })
}
