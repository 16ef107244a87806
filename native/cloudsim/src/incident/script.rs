// SPDX-License-Identifier: Apache-2.0
// Copyright The MidoInsights authors

//! A script: which incidents happen when, and for how long.
//!
//! ```text
//! # after  incident      for
//! 30       host-stops    60
//! 120      rule-removed
//! ```
//! Seconds since the start; without a duration an incident stays.

use std::{str::FromStr, time::Duration};

use tokio::time::{Instant, sleep_until};

use super::{Incident, Scene, Stage};

/// Longest script and latest moment: a day of an incident a minute.
const MOST_LINES: usize = 1_440;
const LATEST: u64 = 86_400;

#[derive(Clone, Debug, Default, Eq, PartialEq)]
pub struct Script(Vec<Line>);

#[derive(Clone, Copy, Debug, Eq, PartialEq)]
struct Line {
    at: Duration,
    incident: Incident,
    ends: Option<Duration>,
}

/// A line that can't be read.
#[derive(Clone, Debug, Eq, PartialEq, thiserror::Error)]
#[error("line {line} of the script: {why}")]
pub struct ScriptError {
    line: usize,
    why: String,
}

impl FromStr for Script {
    type Err = ScriptError;

    fn from_str(text: &str) -> Result<Script, ScriptError> {
        let mut lines = Vec::new();
        for (line, text) in (1..).zip(text.lines()) {
            let error = |why: &str| ScriptError { line, why: why.to_owned() };
            let words: Vec<&str> = text.split('#').next().unwrap_or_default().split_whitespace().collect();
            let seconds = |word: &str| match word.parse::<u64>() {
                Ok(seconds) if seconds <= LATEST => Ok(Duration::from_secs(seconds)),
                _ => Err(error(&format!("{word} is no number of seconds up to a day"))),
            };
            let (at, incident, lasts) = match words[..] {
                [] => continue,
                [at, incident] => (seconds(at)?, incident, None),
                [at, incident, lasts] => (seconds(at)?, incident, Some(seconds(lasts)?)),
                _ => return Err(error("it is not: seconds, incident, seconds")),
            };
            let incident = Incident::from_slug(incident).ok_or_else(|| error(&format!("there is no incident {incident}")))?;
            if lines.len() == MOST_LINES {
                return Err(error("a script has no more lines than that"));
            }
            lines.push(Line {
                at,
                incident,
                ends: lasts.map(|lasts| at + lasts),
            });
        }
        Ok(Script(lines))
    }
}

impl Script {
    /// Plays it to its end, from now on.
    pub async fn play(self, mut stage: Stage) {
        let start = Instant::now();
        // By time; what ends at the moment at which something else begins ends first.
        let mut steps: Vec<(Duration, bool, usize)> = Vec::new();
        for (index, line) in self.0.iter().enumerate() {
            steps.push((line.at, true, index));
            steps.extend(line.ends.map(|ends| (ends, false, index)));
        }
        steps.sort_unstable();
        let mut scenes: Vec<Option<Scene>> = vec![None; self.0.len()];
        for (at, begins, index) in steps {
            sleep_until(start + at).await;
            let incident = self.0[index].incident;
            if begins {
                let Some(scene) = stage.set(incident) else {
                    log::warn!("this cloud has nothing for the incident {}", incident.slug());
                    continue;
                };
                if let Some(probe) = &scene.probe {
                    stage.probe(probe);
                }
                if stage.play(&scene).await.is_some() {
                    log::info!("{}: {}", incident.slug(), scene.subject);
                }
                if let Some(probe) = &scene.probe {
                    stage.probe(probe);
                }
                scenes[index] = Some(scene);
            } else if let Some(scene) = scenes[index].take() {
                stage.end(&scene).await;
                log::info!("{} is over", incident.slug());
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_script_says_what_happens_when() {
        let script: Script = "# a day\n30 host-stops 60\n\n120 rule-removed # and stays\n".parse().unwrap();
        assert_eq!(
            script.0,
            [
                Line {
                    at: Duration::from_secs(30),
                    incident: Incident::HostStops,
                    ends: Some(Duration::from_secs(90)),
                },
                Line {
                    at: Duration::from_secs(120),
                    incident: Incident::RuleRemoved,
                    ends: None,
                },
            ]
        );
        for (text, why) in [
            ("5 earthquake", "line 1 of the script: there is no incident earthquake"),
            ("\nsoon host-stops", "line 2 of the script: soon is no number of seconds up to a day"),
            ("5", "line 1 of the script: it is not: seconds, incident, seconds"),
            ("100000 scan", "line 1 of the script: 100000 is no number of seconds up to a day"),
        ] {
            assert_eq!(text.parse::<Script>().unwrap_err().to_string(), why);
        }
    }
}
