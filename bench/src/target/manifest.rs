//! The description of somebody else's gateway as a target: a TOML file in `bench/targets/` that says how it is run and called.
//!
//! Its arguments and files are templates; see [`Place`] for what may stand in braces. A name in braces that is not known is a
//! mistake, so that a misspelt one never reaches a configuration. Braces around anything but a bare name are the gateway's own.

use anyhow::{Context, bail};
use serde::Deserialize;
use std::collections::BTreeMap;
use std::io::ErrorKind;
use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

/// A gateway and how it is run.
#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Manifest {
    /// Under which its figures stand.
    pub name: String,
    /// What it does with a request, in a few words.
    pub about: String,
    /// Where its program may be, the first that is there is taken: a name in `PATH`, or a path from the repository's root.
    pub program: Vec<String>,
    /// The arguments with which it prints its version.
    pub version: Vec<String>,
    /// The arguments with which it runs in the foreground.
    pub arguments: Vec<String>,
    /// What is added to its environment.
    #[serde(default)]
    pub environment: BTreeMap<String, String>,
    /// What it reads: content by file name, written into its directory before it starts.
    #[serde(default)]
    pub files: BTreeMap<String, String>,
    /// The header in which a client's credential goes.
    pub header: String,
    /// The value of that header.
    pub credential: String,
    /// A path that is answered 200, without a credential, from the moment when it serves.
    pub ready: String,
    /// Whether the provider sees another body than the client sent, and so rightly another length.
    #[serde(default)]
    pub rewrites_bodies: bool,
    /// The scenarios in which it takes part; without them, those in which one key is all there is to know.
    #[serde(default)]
    pub scenarios: Vec<String>,
}

/// What stands for the names in braces.
#[derive(Clone, Copy, Debug)]
pub struct Place<'a> {
    /// `{port}`: where it listens, on 127.0.0.1.
    pub port: u16,
    /// `{upstream}`, `{upstream_host}`, `{upstream_port}`: the provider.
    pub upstream: SocketAddr,
    /// `{dir}`: a directory of its own.
    pub dir: &'a Path,
    /// `{client_key}`: what a client presents.
    pub client_key: &'a str,
    /// `{provider_key}`: what the provider takes.
    pub provider_key: &'a str,
    /// `{model}`: the model that requests ask for.
    pub model: &'a str,
    /// `{workers}`: threads or processes that may serve.
    pub workers: usize,
}

/// A program that is on this machine.
#[derive(Clone, Debug)]
pub struct Found {
    /// As it is run.
    pub program: PathBuf,
    /// The first line that it printed about its version.
    pub version: String,
}

/// A manifest whose names in braces have been replaced and whose files are written.
#[derive(Clone, Debug)]
pub struct Prepared {
    /// See [`Manifest::arguments`].
    pub arguments: Vec<String>,
    /// See [`Manifest::environment`].
    pub environment: Vec<(String, String)>,
    /// See [`Manifest::credential`].
    pub credential: String,
}

impl Manifest {
    /// Reads every `*.toml` in a directory, by name.
    ///
    /// # Errors
    ///
    /// When the directory or a file in it cannot be read or is no manifest; the message names the file.
    pub fn read_all(directory: &Path) -> anyhow::Result<Vec<Self>> {
        let entries = std::fs::read_dir(directory).with_context(|| format!("reading {}", directory.display()))?;
        let mut paths = entries.map(|entry| Ok(entry?.path())).collect::<anyhow::Result<Vec<PathBuf>>>()?;
        paths.retain(|path| path.extension().is_some_and(|extension| extension == "toml"));
        paths.sort();
        paths.iter().map(|path| Self::read(path)).collect()
    }

    /// Reads one.
    ///
    /// # Errors
    ///
    /// See [`Manifest::read_all`].
    pub fn read(path: &Path) -> anyhow::Result<Self> {
        let read = || -> anyhow::Result<Self> { Ok(toml::from_str(&std::fs::read_to_string(path)?)?) };
        read().with_context(|| format!("reading {}", path.display()))
    }

    /// Looks for the program by asking it for its version.
    ///
    /// # Errors
    ///
    /// When it is not there or does not say its version: the reason for which the target is absent.
    pub fn find(&self, root: &Path) -> anyhow::Result<Found> {
        for name in &self.program {
            let program = if name.contains('/') { root.join(name) } else { PathBuf::from(name) };
            let asked =
                Command::new(&program).args(&self.version).envs(&self.environment).stdin(Stdio::null()).output();
            let output = match asked {
                Err(error) if error.kind() == ErrorKind::NotFound => continue,
                other => other.with_context(|| format!("running {}", program.display()))?,
            };
            // nginx prints its version on stderr.
            let printed = [output.stdout, output.stderr].concat();
            let printed = String::from_utf8_lossy(&printed);
            let line = printed.lines().map(str::trim).find(|line| !line.is_empty()).unwrap_or_default().to_owned();
            if !output.status.success() {
                bail!("{} gives no version: {}: {line}", program.display(), output.status);
            }
            return Ok(Found { program, version: line });
        }
        bail!("no program {}", self.program.join(" or "))
    }

    /// Writes the files for a place and fills in the arguments, the environment and the credential.
    ///
    /// # Errors
    ///
    /// When a name in braces is unknown or a file cannot be written.
    pub fn prepare(&self, place: &Place<'_>) -> anyhow::Result<Prepared> {
        let fill = |what: &str, template: &str| {
            place.fill(template).with_context(|| format!("{} of the target {}", what, self.name))
        };
        for (name, template) in &self.files {
            std::fs::write(place.dir.join(name), fill(name, template)?).with_context(|| format!("writing {name}"))?;
        }
        let environment = self.environment.iter();
        Ok(Prepared {
            arguments: self.arguments.iter().map(|text| fill("arguments", text)).collect::<anyhow::Result<_>>()?,
            environment: environment
                .map(|(name, text)| Ok((name.clone(), fill(name, text)?)))
                .collect::<anyhow::Result<_>>()?,
            credential: fill("credential", &self.credential)?,
        })
    }
}

impl Place<'_> {
    fn fill(&self, template: &str) -> anyhow::Result<String> {
        let mut filled = String::with_capacity(template.len());
        let mut rest = template;
        while let Some((before, after)) = rest.split_once('{') {
            filled += before;
            let name = after.split_once('}').map(|(name, _)| name);
            let name = name
                .filter(|name| !name.is_empty() && name.bytes().all(|byte| byte.is_ascii_lowercase() || byte == b'_'));
            rest = match name {
                Some(name) => {
                    filled += &self.value(name).with_context(|| format!("unknown name {{{name}}}"))?;
                    &after[name.len() + 1..]
                }
                None => {
                    filled.push('{');
                    after
                }
            };
        }
        Ok(filled + rest)
    }

    fn value(&self, name: &str) -> Option<String> {
        Some(match name {
            "port" => self.port.to_string(),
            "upstream" => self.upstream.to_string(),
            "upstream_host" => self.upstream.ip().to_string(),
            "upstream_port" => self.upstream.port().to_string(),
            "dir" => self.dir.display().to_string(),
            "client_key" => self.client_key.to_owned(),
            "provider_key" => self.provider_key.to_owned(),
            "model" => self.model.to_owned(),
            "workers" => self.workers.to_string(),
            _ => return None,
        })
    }
}

#[cfg(test)]
mod tests {
    use super::{Manifest, Place};
    use std::path::Path;

    fn place(dir: &Path) -> Place<'_> {
        let upstream = "127.0.0.1:9".parse().unwrap();
        let (client_key, provider_key, model) = ("sk-client", "provider-key", "a-model");
        Place { port: 8, upstream, dir, client_key, provider_key, model, workers: 1 }
    }

    fn manifest(more: &str) -> anyhow::Result<Manifest> {
        let dir = tempfile::tempdir()?;
        let path = dir.path().join("invented.toml");
        let text = "name = 'invented'\nabout = 'a'\nprogram = ['no-such-program-5d1c']\nversion = ['-v']\n\
            arguments = ['{dir}/x', '{port}']\nheader = 'authorization'\ncredential = 'Bearer {client_key}'\nready = '/'\n";
        std::fs::write(&path, format!("{text}{more}"))?;
        Manifest::read(&path)
    }

    #[test]
    fn names_in_braces_are_filled_in_and_other_braces_are_left_alone() {
        let dir = tempfile::tempdir().unwrap();
        let place = place(dir.path());
        for (template, filled) in [
            ("{upstream} {upstream_host} {upstream_port} {port}", "127.0.0.1:9 127.0.0.1 9 8"),
            ("{client_key}{provider_key}{model}{workers}", "sk-clientprovider-keya-model1"),
            (
                "events { a; } {} {\"e\":{\"m\":1}} { path /ready } }{",
                "events { a; } {} {\"e\":{\"m\":1}} { path /ready } }{",
            ),
        ] {
            assert_eq!(place.fill(template).unwrap(), filled);
        }
        assert!(place.fill("listen {prot}").unwrap_err().to_string().contains("{prot}"));
    }

    #[test]
    fn files_are_written_and_arguments_and_credential_are_filled_in() {
        let dir = tempfile::tempdir().unwrap();
        let more = "[environment]\nWHERE = '{upstream}'\n[files]\n'gate.conf' = 'listen {port};'\n";
        let prepared = manifest(more).unwrap().prepare(&place(dir.path())).unwrap();
        assert_eq!(prepared.arguments, [format!("{}/x", dir.path().display()), "8".to_owned()]);
        assert_eq!(prepared.credential, "Bearer sk-client");
        assert_eq!(prepared.environment, [("WHERE".to_owned(), "127.0.0.1:9".to_owned())]);
        assert_eq!(std::fs::read_to_string(dir.path().join("gate.conf")).unwrap(), "listen 8;");
        let misspelt = manifest("[files]\n'gate.conf' = 'listen {prot};'\n").unwrap();
        let error = format!("{:#}", misspelt.prepare(&place(dir.path())).unwrap_err());
        assert_eq!(error, "gate.conf of the target invented: unknown name {prot}");
    }

    #[test]
    fn an_unknown_member_is_refused_with_the_file_and_a_missing_program_is_named() {
        let error = format!("{:#}", manifest("worker = 1\n").unwrap_err());
        assert!(error.contains("invented.toml") && error.contains("unknown field `worker`"), "{error}");
        let absent = manifest("").unwrap().find(Path::new("/")).unwrap_err();
        assert_eq!(absent.to_string(), "no program no-such-program-5d1c");
    }

    #[test]
    fn the_manifests_that_come_with_the_bench_can_be_prepared() {
        let manifests = Manifest::read_all(&Path::new(env!("CARGO_MANIFEST_DIR")).join("targets")).unwrap();
        let names: Vec<&str> = manifests.iter().map(|manifest| manifest.name.as_str()).collect();
        assert_eq!(names, ["haproxy", "litellm-custom", "litellm", "nginx"]);
        for manifest in manifests {
            let dir = tempfile::tempdir().unwrap();
            let prepared = manifest.prepare(&place(dir.path())).unwrap();
            assert_eq!(prepared.credential, "Bearer sk-client", "{}", manifest.name);
        }
    }
}
