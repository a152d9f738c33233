//! The journal: files in a directory, to which a record is appended before the end of its answer goes to the client.
//!
//! Each process writes files of its own, one after another: `<journal>-<number>.log`, where `<journal>` names the process.
//! A file that is closed is posted to the store and then removed; the store remembers the number, so a file that is
//! posted twice counts once. What a process left behind is posted by the next one in the directory: it sees by the lock
//! file that nobody writes there any more. Appending is one write to the page cache: it outlives the process, not the
//! machine.

use std::collections::{BTreeMap, VecDeque};
use std::fs::{self, File, OpenOptions};
use std::io::{self, Write};
use std::path::{Path, PathBuf};
use std::sync::{Mutex, MutexGuard, PoisonError};

use super::{UsageRecord, line};

/// The journal of this process.
pub struct Journal {
    directory: PathBuf,
    /// Names this process among all that ever wrote one.
    name: String,
    writing: Mutex<Writing>,
    /// Held for as long as the process lives.
    _lock: File,
}

struct Writing {
    file: File,
    number: u64,
    bytes: u64,
    /// Lines that the disk did not take.
    refused: Vec<u8>,
    /// Files that are complete and not posted.
    closed: VecDeque<u64>,
}

/// A file that nobody writes any more.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Segment {
    /// The journal that it is a part of.
    pub journal: String,
    /// Its place in that.
    pub number: u64,
    path: PathBuf,
}

/// A file is closed when it is as long, however slowly the store takes the ones before it: some three thousand calls, which
/// the store takes well within the time for one write.
const MOST_BYTES: u64 = 1 << 20;

/// Bytes that are held in memory at most while the disk takes none.
const MOST_REFUSED: usize = 64 << 20;

impl Journal {
    /// Begins a journal in this directory, which is made if it is not there.
    ///
    /// # Errors
    /// It cannot be made, or not be written to.
    pub fn open(directory: &Path) -> io::Result<Self> {
        let mut builder = fs::DirBuilder::new();
        builder.recursive(true);
        #[cfg(unix)]
        std::os::unix::fs::DirBuilderExt::mode(&mut builder, 0o700);
        builder.create(directory)?;
        let name = format!("{:032x}", rand::random::<u128>());
        let lock = create(&directory.join(format!("{name}.lock")))?;
        lock.lock()?;
        let writing = Writing {
            file: create(&path_of(directory, &name, 1))?,
            number: 1,
            bytes: 0,
            refused: Vec::new(),
            closed: VecDeque::new(),
        };
        Ok(Self { directory: directory.to_owned(), name, writing: Mutex::new(writing), _lock: lock })
    }

    /// Appends a record. What the disk does not take now is kept in memory and appended with the next.
    pub fn note(&self, record: &UsageRecord) {
        let line = line::write(record);
        let mut writing = self.writing();
        if writing.append(&line).is_ok() && writing.bytes >= MOST_BYTES {
            self.close(&mut writing);
        }
    }

    /// The files that can be posted now, the oldest first. The one that is written to is closed for it if nothing else
    /// waits: while the store is away, few long files are better than many short ones.
    #[must_use]
    pub fn closed(&self) -> Vec<Segment> {
        let mut writing = self.writing();
        if !writing.refused.is_empty() {
            let _ = writing.append(&[]);
        }
        if writing.closed.is_empty() && writing.bytes > 0 {
            self.close(&mut writing);
        }
        writing.closed.iter().map(|number| self.segment(*number)).collect()
    }

    /// The files of processes that have ended, those of each in their order.
    ///
    /// # Errors
    /// The directory cannot be read.
    pub fn left_behind(&self) -> io::Result<Vec<Segment>> {
        let mut found = BTreeMap::<(String, u64), PathBuf>::new();
        let mut locks = Vec::new();
        for entry in fs::read_dir(&self.directory)? {
            let path = entry?.path();
            let name = path.file_name().and_then(|name| name.to_str()).unwrap_or_default().to_owned();
            if let Some((journal, number)) = name.strip_suffix(".log").and_then(|name| name.split_once('-')) {
                if let (true, Ok(number)) = (journal != self.name, number.parse()) {
                    found.insert((journal.to_owned(), number), path);
                }
            } else if let Some(journal) = name.strip_suffix(".lock").filter(|journal| *journal != self.name) {
                locks.push((journal.to_owned(), path));
            }
        }
        for (journal, path) in locks {
            let is_over = File::open(&path).is_ok_and(|lock| lock.try_lock().is_ok());
            if !is_over {
                found.retain(|(name, _), _| *name != journal);
            } else if !found.keys().any(|(name, _)| *name == journal) {
                removed(&path)?;
            }
        }
        Ok(found.into_iter().map(|((journal, number), path)| Segment { journal, number, path }).collect())
    }

    /// Removes a file that the store has.
    ///
    /// # Errors
    /// It cannot be removed; posting it again does no harm.
    pub fn posted(&self, segment: &Segment) -> io::Result<()> {
        if segment.journal == self.name {
            self.writing().closed.retain(|number| *number != segment.number);
        }
        removed(&segment.path)
    }

    fn close(&self, writing: &mut Writing) {
        let next = writing.number + 1;
        match create(&path_of(&self.directory, &self.name, next)) {
            Ok(file) => {
                writing.closed.push_back(writing.number);
                (writing.file, writing.number, writing.bytes) = (file, next, 0);
            }
            Err(error) => tracing::error!(cause = %error, "the journal of usage cannot begin a new file"),
        }
    }

    fn segment(&self, number: u64) -> Segment {
        Segment { journal: self.name.clone(), number, path: path_of(&self.directory, &self.name, number) }
    }

    fn writing(&self) -> MutexGuard<'_, Writing> {
        self.writing.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Writing {
    /// One write, so that a line is there or not; where it was cut all the same, the rest follows with the next.
    fn append(&mut self, line: &[u8]) -> io::Result<()> {
        let pending = (!self.refused.is_empty()).then(|| {
            let mut pending = std::mem::take(&mut self.refused);
            pending.extend_from_slice(line);
            pending
        });
        let whole = pending.as_deref().unwrap_or(line);
        let mut written = 0;
        let done = loop {
            if written == whole.len() {
                break Ok(());
            }
            match self.file.write(&whole[written..]) {
                Ok(0) => break Err(io::ErrorKind::WriteZero.into()),
                Ok(count) => written += count,
                Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                Err(error) => break Err(error),
            }
        };
        self.bytes += written as u64;
        let rest = &whole[written..];
        if let Err(error) = &done {
            tracing::error!(cause = %error, "the disk does not take what calls took: it is kept in memory");
            if rest.len() <= MOST_REFUSED {
                self.refused = rest.to_vec();
            } else {
                tracing::error!(bytes = rest.len(), "what calls took is lost: neither disk nor memory has room");
            }
        }
        done
    }
}

impl Segment {
    /// Its records.
    ///
    /// # Errors
    /// It cannot be read.
    pub fn records(&self) -> io::Result<Vec<UsageRecord>> {
        let (records, unreadable) = line::read(&fs::read(&self.path)?);
        if unreadable > 0 {
            let path = self.path.display();
            tracing::warn!(%path, lines = unreadable, "lines of the journal are not whole: their answers were not either");
        }
        Ok(records)
    }
}

/// Another process may have done it.
fn removed(path: &Path) -> io::Result<()> {
    match fs::remove_file(path) {
        Err(error) if error.kind() != io::ErrorKind::NotFound => Err(error),
        _ => Ok(()),
    }
}

fn path_of(directory: &Path, journal: &str, number: u64) -> PathBuf {
    directory.join(format!("{journal}-{number:010}.log"))
}

/// A new file, the owner's alone.
fn create(path: &Path) -> io::Result<File> {
    let mut options = OpenOptions::new();
    options.append(true).create_new(true);
    #[cfg(unix)]
    std::os::unix::fs::OpenOptionsExt::mode(&mut options, 0o600);
    options.open(path)
}

#[cfg(test)]
mod tests {
    use std::time::{Duration, UNIX_EPOCH};

    use portcullis_filters::authn::virtual_key::KeyHash;
    use portcullis_filters::price::Cost;
    use portcullis_filters::usage::Usage;
    use tempfile::TempDir;

    use super::*;
    use crate::usage::Caller;

    fn record(id: &str) -> UsageRecord {
        UsageRecord {
            id: id.to_owned(),
            began: UNIX_EPOCH + Duration::from_micros(1_790_000_000_000_001),
            ended: UNIX_EPOCH + Duration::from_micros(1_790_000_000_000_002),
            caller: Caller {
                id: "x\\\"y".to_owned(),
                key: Some(KeyHash::of("sk-1")),
                user_id: Some("ann".to_owned()),
                team_id: None,
                organization_id: None,
                end_user_id: None,
            },
            call: "/chat/completions".to_owned(),
            model: "m".to_owned(),
            upstream_model: "u".to_owned(),
            provider: "openai".to_owned(),
            usage: Usage { input: 1, cached: 2, cache_written: 3, output: 4, reasoning: 5 },
            cost: Cost(u64::MAX),
            is_estimate: true,
        }
    }

    fn ids(segments: &[Segment]) -> Vec<String> {
        segments.iter().flat_map(|segment| segment.records().unwrap()).map(|record| record.id).collect()
    }

    #[test]
    fn what_is_noted_is_read_back_until_it_is_posted() {
        let directory = TempDir::new().unwrap();
        let journal = Journal::open(&directory.path().join("a/b")).unwrap();
        assert_eq!(journal.closed(), []);
        journal.note(&record("1"));
        let first = journal.closed();
        assert_eq!(first[0].records().unwrap(), [record("1")]);
        journal.note(&record("2"));
        assert_eq!(journal.closed(), first, "what comes meanwhile is gathered");
        journal.posted(&first[0]).unwrap();
        assert_eq!(ids(&journal.closed()), ["2"]);
    }

    #[test]
    fn what_a_dead_process_left_is_found_and_that_of_a_living_one_is_not() {
        let directory = TempDir::new().unwrap();
        let (dead, living) = (Journal::open(directory.path()).unwrap(), Journal::open(directory.path()).unwrap());
        for (journal, id) in [(&dead, "1"), (&living, "x")] {
            journal.note(&record(id));
        }
        let _ = dead.closed();
        dead.note(&record("2"));
        drop(dead);
        let journal = Journal::open(directory.path()).unwrap();
        let left = journal.left_behind().unwrap();
        assert_eq!(ids(&left), ["1", "2"]);
        left.iter().for_each(|segment| journal.posted(segment).unwrap());
        assert_eq!(journal.left_behind().unwrap(), []);
        let files = fs::read_dir(directory.path()).unwrap().count();
        assert_eq!(files, 4, "two living processes with a lock and a file each");
    }

    /// Who may choose such texts is neither the operator nor this program.
    #[test]
    fn what_no_database_takes_is_kept_by_its_hash() {
        let directory = TempDir::new().unwrap();
        let journal = Journal::open(directory.path()).unwrap();
        let (long, nul) = ("x".repeat(201), "a\0b".to_owned());
        let caller = Caller { user_id: Some(long.clone()), end_user_id: Some(nul.clone()), ..record("1").caller };
        journal.note(&UsageRecord { caller, model: "m".repeat(200), ..record("1") });
        let read = journal.closed()[0].records().unwrap().remove(0);
        let hashed = |text: &str| Some(format!("sha256:{}", KeyHash::of(text)));
        assert_eq!((read.caller.user_id, read.caller.end_user_id), (hashed(&long), hashed(&nul)));
        assert_eq!((read.model, read.caller.key), ("m".repeat(200), Some(KeyHash::of("sk-1"))));
    }

    #[cfg(target_os = "linux")]
    #[test]
    fn a_full_disk_loses_nothing_once_there_is_room_again() {
        let directory = TempDir::new().unwrap();
        let journal = Journal::open(directory.path()).unwrap();
        let full = OpenOptions::new().write(true).open("/dev/full").unwrap();
        let disk = std::mem::replace(&mut journal.writing().file, full);
        journal.note(&record("1"));
        journal.note(&record("2"));
        assert_eq!(journal.closed(), []);
        journal.writing().file = disk;
        assert_eq!(ids(&journal.closed()), ["1", "2"]);
    }

    #[test]
    fn a_line_that_was_cut_is_left_out_and_the_others_count() {
        let directory = TempDir::new().unwrap();
        let journal = Journal::open(directory.path()).unwrap();
        journal.note(&record("1"));
        let segment = journal.closed().remove(0);
        let whole = fs::read(&segment.path).unwrap();
        for end in 0..whole.len() {
            let broken = [&whole[..], b"nonsense\n", &whole[..end]].concat();
            fs::write(&segment.path, broken).unwrap();
            assert_eq!(segment.records().unwrap(), [record("1")], "cut at {end}");
        }
    }
}
