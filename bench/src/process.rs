//! What a target costs the machine: processor time and memory of a process and its descendants, and the cores it may use.
//!
//! The harness and its provider keep away from the target's core, so that a figure is of the target alone; the kernel's work for
//! a target's sockets is charged to whoever causes it, on both sides.

use anyhow::Context;
use nix::sched::{CpuSet, sched_getaffinity, sched_setaffinity};
use nix::time::ClockId;
use nix::unistd::Pid;
use procfs::process::{Process, all_processes};
use std::time::Duration;

/// A process and those that it started, as of one moment.
#[derive(Clone, Debug)]
pub struct ProcessTree {
    members: Vec<i32>,
}

impl ProcessTree {
    /// The process of this id with all its descendants. One that starts later is not among them.
    #[must_use]
    pub fn of(root: u32) -> Self {
        let root = i32::try_from(root).unwrap_or_default();
        let processes = all_processes().into_iter().flatten().flatten();
        let parents: Vec<(i32, i32)> =
            processes.filter_map(|process| process.stat().ok()).map(|stat| (stat.pid, stat.ppid)).collect();
        let mut members = vec![root];
        let mut seen = 0;
        while seen < members.len() {
            let parent = members[seen];
            members.extend(parents.iter().filter(|(_, ppid)| *ppid == parent).map(|(pid, _)| *pid));
            seen += 1;
        }
        Self { members }
    }

    /// User and system time of all of them since they began, ended threads included, as the scheduler counts it: in
    /// nanoseconds, not in ticks. A process that has ended counts nothing.
    #[must_use]
    pub fn cpu(&self) -> Duration {
        let clocks = self.members.iter().filter_map(|pid| ClockId::pid_cpu_clock_id(Pid::from_raw(*pid)).ok());
        clocks.filter_map(|clock| clock.now().ok()).map(Duration::from).sum()
    }

    /// Resident memory of all of them, in bytes. Pages that they share count for each.
    #[must_use]
    pub fn rss_bytes(&self) -> u64 {
        let processes = self.members.iter().filter_map(|pid| Process::new(*pid).ok());
        processes.filter_map(|process| process.statm().ok()).map(|memory| memory.resident * procfs::page_size()).sum()
    }
}

/// Which cores belong to the target and which to everything else.
#[derive(Clone, Copy, Debug)]
pub struct Cores {
    all: CpuSet,
    target: CpuSet,
    harness: CpuSet,
    /// How many the harness has.
    pub harness_count: usize,
}

impl Cores {
    /// Gives the first usable core to the target and leaves the rest to the harness. With a single core, or when `pin` is false,
    /// all share all.
    ///
    /// # Errors
    ///
    /// When the system does not tell which cores there are.
    pub fn divide(pin: bool) -> anyhow::Result<Self> {
        let all = sched_getaffinity(Pid::from_raw(0)).context("asking for the usable cores")?;
        let usable: Vec<usize> = (0..CpuSet::count()).filter(|core| all.is_set(*core).unwrap_or(false)).collect();
        if !pin || usable.len() < 2 {
            return Ok(Self { all, target: all, harness: all, harness_count: usable.len() });
        }
        let (mut target, mut harness) = (CpuSet::new(), CpuSet::new());
        target.set(usable[0])?;
        for core in &usable[1..] {
            harness.set(*core)?;
        }
        Ok(Self { all, target, harness, harness_count: usable.len() - 1 })
    }

    /// Whether target and harness are kept apart.
    #[must_use]
    pub fn pinned(&self) -> bool {
        self.target != self.harness
    }

    /// Cores that the run may use in all.
    #[must_use]
    pub fn count(&self) -> usize {
        (0..CpuSet::count()).filter(|core| self.all.is_set(*core).unwrap_or(false)).count()
    }

    /// Moves the calling thread, and whatever threads it starts from now on, to the harness's cores.
    ///
    /// # Errors
    ///
    /// When the system refuses.
    pub fn enter_harness(&self) -> anyhow::Result<()> {
        sched_setaffinity(Pid::from_raw(0), &self.harness).context("pinning the harness")
    }

    /// Runs `spawn` with the calling thread on the target's core: a process that it starts inherits that from its first
    /// instruction on, and so do all its threads.
    ///
    /// # Errors
    ///
    /// When the system refuses to move the thread.
    pub fn in_target<T>(&self, spawn: impl FnOnce() -> T) -> anyhow::Result<T> {
        let before = sched_getaffinity(Pid::from_raw(0))?;
        sched_setaffinity(Pid::from_raw(0), &self.target).context("pinning the target")?;
        let spawned = spawn();
        sched_setaffinity(Pid::from_raw(0), &before)?;
        Ok(spawned)
    }
}

#[cfg(test)]
mod tests {
    use super::{Cores, ProcessTree};
    use crate::within;
    use nix::sys::signal::{Signal, kill};
    use nix::unistd::Pid;
    use std::process::{Child, Command, Stdio};
    use std::time::{Duration, Instant};

    /// A process that is ended with the test, and its child with it where it passes signals on.
    struct Started(Child);

    impl Drop for Started {
        fn drop(&mut self) {
            kill(Pid::from_raw(self.0.id() as i32), Signal::SIGTERM).ok();
            self.0.wait().ok();
        }
    }

    fn started(program: &str, arguments: &[&str]) -> Started {
        let mut command = Command::new(program);
        command.args(arguments).stdin(Stdio::piped()).stdout(Stdio::null());
        Started(command.spawn().unwrap())
    }

    /// Asks again and again, giving the processor away between, until it holds.
    async fn until(what: &str, holds: impl Fn() -> bool) {
        within(what, async {
            while !holds() {
                tokio::time::sleep(Duration::from_millis(1)).await;
            }
        })
        .await;
    }

    #[tokio::test]
    async fn counts_the_time_of_a_busy_child_and_not_that_of_an_idle_one() {
        let idle = started("/bin/sh", &["-c", "read line"]);
        // What is started only waits; what is busy is its child.
        let busy = started("timeout", &["30", "/bin/sh", "-c", "while :; do :; done"]);
        until("a child", || ProcessTree::of(busy.0.id()).members.len() == 2).await;
        let [idle, busy] = [&idle, &busy].map(|started| ProcessTree::of(started.0.id()));
        let (began, idle_before, busy_before) = (Instant::now(), idle.cpu(), busy.cpu());
        let spent = |tree: &ProcessTree, before| tree.cpu().saturating_sub(before);
        until("time spent", || spent(&busy, busy_before) > Duration::from_millis(30)).await;
        assert!(spent(&busy, busy_before) <= began.elapsed() + Duration::from_millis(5));
        assert!(spent(&idle, idle_before) < Duration::from_millis(5));
        assert!(busy.rss_bytes() > idle.rss_bytes() && idle.rss_bytes() > 100_000);
    }

    #[test]
    fn a_spawned_target_gets_a_core_that_the_harness_has_not() {
        let cores = Cores::divide(true).unwrap();
        if !cores.pinned() {
            assert_eq!(cores.count(), 1);
            return;
        }
        let child = cores.in_target(|| started("/bin/sh", &["-c", "read line"])).unwrap();
        let allowed = |pid: i32| nix::sched::sched_getaffinity(Pid::from_raw(pid)).unwrap();
        assert_eq!(allowed(child.0.id() as i32), cores.target);
        assert_eq!(allowed(0), cores.all);
        cores.enter_harness().unwrap();
        assert_eq!(allowed(0), cores.harness);
        assert!(
            (0..cores.count()).all(|core| !(cores.target.is_set(core).unwrap() && cores.harness.is_set(core).unwrap()))
        );
    }
}
