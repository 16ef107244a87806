# SPDX-License-Identifier: Apache-2.0
# Copyright The MidoInsights authors
#
# What the package scripts of every family do. Plain POSIX shell: it runs on Ubuntu 14.04, RHEL 7 and SLES 12, also where MidoNet is
# not there yet, no daemon runs, or the disk can't be written. The MidoNet Cluster is never restarted from here.
name=midonet-insights-plugin
state=/var/lib/$name

say() {
  echo "$name: $*"
}

# After the files are there. $1: what was there before, empty at a first installation.
installed() {
  if ! problem=$(mn-insights init --quiet 2>&1 >/dev/null); then
    say "no key could be made ($problem)"
    say "when that is mended, run: mn-insights init"
    return 0
  fi
  if [ -n "$1" ]; then
    say "key and spool are kept; the new version runs after: service midonet-cluster restart"
    return 0
  fi
  say "add this fingerprint to the site in the Insights manager: $(mn-insights show 2>/dev/null | head -n 1)"
  say "then run: service midonet-cluster restart"
}

removed() {
  say "a running MidoNet Cluster keeps the plugin until: service midonet-cluster restart"
  say "key and spool are kept in $state"
}
