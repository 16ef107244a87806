# SPDX-License-Identifier: Apache-2.0
# Copyright The MidoInsights authors
#
# The life of the collector's package, with apt-get and with dnf. Sourced by run.

data=var/lib/insights-collector

collector_life() {
  local system
  for system in deb el8; do
    echo "collector on $system"
    new_root "collector-$system"
    "${system}_setup" before "$other_key"
    refuses "packages signed with another key are not taken" "${system}_install" midonet-insights-collector
    "${system}_setup" before "$key"
    [ $system = deb ] || rpm --root "$root" -i "$work"/standin/el8/system*.rpm
    collector_package $system
  done
}

collector_package() { # SYSTEM
  local system=$1 log=$work/collector-$1.install authority
  check "installs" logged "$log" "${system}_install" midonet-insights-collector
  check "says how to start it" says "systemctl enable --now insights-collector" "$log"
  check "has a user of its own" grep -q '^insights-collector:.*:/usr/sbin/nologin$' "$root/etc/passwd"
  check "its folder is its user's alone" is "$root" "700 $(collector_ids)" $data
  check "files are root's, with their modes" collector_modes
  check "the unit is sound" systemd-analyze verify --man=no --root="$root" insights-collector.service
  check "the unit gives few rights" systemd-analyze security --offline=true --root="$root" --threshold=20 insights-collector.service

  collector_start before
  check "serves after the unit's own commands" within 60 answers /health/ready
  check "its certificate's key is its user's alone" is "$root" "600 $(collector_ids)" $data/tls/server.key
  end "$pid"
  refuses "root makes no files in its folder" inside insights-collector account list
  check "its user does" as_collector account add --email ada@example.org --name Ada
  authority=$(sha256sum <"$root/$data/tls/ca.pem")

  echo 'log = "debug"' >>"$root/etc/insights-collector.toml"
  "${system}_setup" now "$key"
  check "upgrades" logged "$log" "${system}_upgrade" midonet-insights-collector
  check "is the new version" same "$now_version" "$("${system}_version" midonet-insights-collector)"
  check "settings are kept" grep -qx 'log = "debug"' "$root/etc/insights-collector.toml"
  collector_start now
  check "serves after it" within 60 answers /health/ready
  end "$pid"
  check "what it kept is there" grep -q ada@example.org <(as_collector account list)
  check "its authority is the same" same "$authority" "$(sha256sum <"$root/$data/tls/ca.pem")"

  check "is removed" logged "$log" "${system}_remove" midonet-insights-collector
  check "data stay" test -e "$root/$data/store/catalog.sqlite" -a ! -e "$root/usr/bin/insights-collector"
  check "installs after that" logged "$log" "${system}_install" midonet-insights-collector
  check "finds its data" grep -q ada@example.org <(as_collector account list)
  if [ "$system" = deb ]; then
    deb_purge midonet-insights-collector >"$log" 2>&1
    check "a purge deletes data and settings" test ! -e "$root/$data" -a ! -e "$root/etc/insights-collector.toml"
    check "installs after a purge" logged "$log" deb_install midonet-insights-collector
  fi
}

collector_ids() {
  awk -F: '$1 == "insights-collector" { print $3 ":" $4 }' "$root/etc/passwd"
}

as_collector() {
  inside runuser -u insights-collector -- insights-collector "$@"
}

collector_modes() {
  local unit=usr/lib/systemd/system
  [ -e "$root/$unit/insights-collector.service" ] || unit=lib/systemd/system
  is "$root" "755 0:0" usr/bin/insights-collector &&
    is "$root" "644 0:0" etc/insights-collector.toml &&
    is "$root" "644 0:0" $unit/insights-collector.service &&
    is "$root" "644 0:0" usr/share/man/man1/insights-collector-serve.1.gz &&
    is "$root" "644 0:0" usr/share/bash-completion/completions/insights-collector &&
    is "$root" "644 0:0" usr/share/doc/midonet-insights-collector/THIRD-PARTY.gz
}

# Runs what the unit runs, as the unit's user, at free ports; $pid.
collector_start() { # NAME
  local unit command
  unit=$(find "$root/usr/lib/systemd/system" -name insights-collector.service)
  command=$(sed -n 's/^ExecStartPre=//p' "$unit")
  # shellcheck disable=SC2086 # words of a command
  inside runuser -u insights-collector -- ${command//%H/127.0.0.1} >/dev/null
  user=insights-collector:insights-collector
  environment=(INSIGHTS_INGEST_LISTEN=127.0.0.1:0 INSIGHTS_WEB_LISTEN=127.0.0.1:0)
  # shellcheck disable=SC2046
  start_inside "$work/collector.$1.log" $(sed -n 's/^ExecStart=//p' "$unit")
  user='' environment=()
  collector_log=$work/collector.$1.log
}

served() { # ingest|web
  sed -nE "s/^ready .*\b$1=([^ ]+).*/\1/p" "$collector_log"
}

answers() { # PATH
  [ -n "$(served web)" ] && python3 -c 'import sys, urllib.request; urllib.request.urlopen(sys.argv[1], timeout=5)' "http://$(served web)$1"
}

el8_setup() {
  yum_setup el8 "$@"
}

el8_install() {
  el7_install "$1"
}

el8_upgrade() {
  el7_upgrade "$1"
}

el8_remove() {
  el7_remove "$1"
}

el8_version() {
  el7_version "$1"
}
