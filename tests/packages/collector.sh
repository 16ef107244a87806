# SPDX-License-Identifier: Apache-2.0
# Copyright The MidoInsights authors
#
# The life of the collector's package, with apt-get and with dnf. Sourced by run.

data=var/lib/insights-collector

collector_life() {
  local system
  for system in el8 deb; do
    echo "collector on $system"
    new_root "collector-$system"
    [ $system = el8 ] || boot
    [ $system = deb ] || rpm_in -i "$work"/standin/el8/system-*.rpm
    "${system}_setup" before "$other_key"
    refuses "packages signed with another key are not taken" "$BAD_KEY" "${system}_install" midonet-insights-collector
    "${system}_setup" tampered "$key"
    refuses "a package that was changed after it was signed is not taken" "$BAD_SUM" "${system}_install" midonet-insights-collector
    "${system}_setup" before "$key"
    collector_package $system
  done
}

collector_package() { # SYSTEM
  local system=$1 log=$work/collector-$1.install authority sealing main=
  check "installs" logged "$log" "${system}_install" midonet-insights-collector
  check "says how to start it" says "systemctl enable --now insights-collector" "$log"
  check "has a user of its own" grep -q '^insights-collector:.*:/usr/sbin/nologin$' "$root/etc/passwd"
  check "its folder is its user's alone" is "$root" "700 $(collector_ids)" $data
  check "files are root's, with their modes" collector_modes
  check "the unit is sound" systemd-analyze verify --man=no --root="$root" insights-collector.service
  check "the unit gives few rights" systemd-analyze security --offline=true --root="$root" --threshold=20 insights-collector.service

  collector_start
  check "serves" within 60 answers /health/ready
  check "its certificate's key is its user's alone" is "$root" "600 $(collector_ids)" $data/tls/server.key
  check "so is the key of names and addresses" is "$root" "600 $(collector_ids)" $data/profile.key
  if booted; then
    check "runs as its user, with one right" same "Uid:$(collector_ids | cut -d: -f1) CapEff:0000000000000400" "$(collector_rights)"
    check "logs to the journal" grep serving <(inside journalctl --no-pager -u insights-collector)
  else
    end "$pid"
  fi
  refuses "root makes no files in its folder" "runuser -u insights-collector" inside insights-collector account list
  check "its user does" as_collector account add --email ada@example.org --name Ada
  refuses "the catalogue alone tells no address" "" grep -qia ada@example.org "$root/$data/store/catalog.sqlite" "$root/$data/store/catalog.sqlite-wal"
  authority=$(sha256sum <"$root/$data/tls/ca.pem")
  sealing=$(sha256sum <"$root/$data/profile.key")

  booted || check "the version before had a catalogue of another form" old_catalogue
  ! booted || main=$(inside systemctl show -P MainPID insights-collector)
  echo 'log = "debug"' >>"$root/etc/insights-collector.toml"
  "${system}_setup" now "$key"
  check "upgrades" logged "$log" "${system}_upgrade" midonet-insights-collector
  check "is the new version" same "$now_version" "$("${system}_version" midonet-insights-collector)"
  check "says what becomes of the catalogue" says "migrates it, keeps a copy beside it" "$log"
  check "settings are kept" grep -qx 'log = "debug"' "$root/etc/insights-collector.toml"
  if booted; then
    check "the upgrade started it again" test "$main" != "$(inside systemctl show -P MainPID insights-collector)"
  else
    collector_start
  fi
  check "serves after it" within 60 answers /health/ready
  check "its key is the same" same "$sealing" "$(sha256sum <"$root/$data/profile.key")"
  if ! booted; then
    end "$pid"
    collector_migrated "$work/collector.log"
  fi
  check "what it kept is there" grep ada@example.org <(as_collector account list)
  check "its authority is the same" same "$authority" "$(sha256sum <"$root/$data/tls/ca.pem")"

  check "is removed" logged "$log" "${system}_remove" midonet-insights-collector
  ! booted || check "it is stopped" same inactive "$(inside systemctl is-active insights-collector)"
  check "data stay" test -e "$root/$data/store/catalog.sqlite" -a ! -e "$root/usr/bin/insights-collector"
  ! booted || check "the catalogue is of another form meanwhile" old_catalogue
  check "installs after that" logged "$log" "${system}_install" midonet-insights-collector
  if booted; then
    # In the service's own narrow rights.
    collector_start
    check "serves after that" within 60 answers /health/ready
    inside journalctl --no-pager -u insights-collector >"$log"
    collector_migrated "$log"
  fi
  check "finds its data" grep ada@example.org <(as_collector account list)
  if [ "$system" = deb ]; then
    deb_purge midonet-insights-collector >"$log" 2>&1
    check "a purge deletes data and settings" test ! -e "$root/$data" -a ! -e "$root/etc/insights-collector.toml"
    check "the README's lines install it after that" logged "$log" by_readme 'install -d /etc/apt/keyrings'
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

collector_migrated() { # LOG
  check "it has migrated, and says where the copy is" says "its form before is kept in /$data/store/catalog.sqlite.v1" "$1"
  check "the copy is its user's alone" is "$root" "600 $(collector_ids)" $data/store/catalog.sqlite.v1
}

# Brings the catalogue of a collector that does not run to the first form that there was, with everything that this one can hold. Names and
# addresses stand in clear there.
old_catalogue() {
  python3 - "$root/$data/store/catalog.sqlite" <<'PYTHON'
import os, pathlib, sqlite3, sys

path = pathlib.Path(sys.argv[1])
steps = pathlib.Path("native/store/src/catalog/schema.rs").read_text()
first = steps.split('    // 1\n    "', 1)[1].split('",\n', 1)[0]
now = sqlite3.connect(path)
old = sqlite3.connect(path.with_suffix(".old"))
old.executescript(first)
for (table,) in old.execute("SELECT name FROM sqlite_schema WHERE type = 'table'").fetchall():
    columns = ", ".join(row[1] for row in old.execute(f"PRAGMA table_info({table})"))
    for row in now.execute(f"SELECT {columns} FROM {table}"):
        old.execute(f"INSERT INTO {table} ({columns}) VALUES ({', '.join('?' * len(row))})", row)
old.execute("UPDATE accounts SET email = 'ada@example.org', email_key = 'ada@example.org', name = 'Ada'")
old.execute("PRAGMA user_version = 1")
old.commit()
old.close()
now.close()
stat = path.stat()
os.chown(path.with_suffix(".old"), stat.st_uid, stat.st_gid)
path.with_suffix(".old").chmod(0o600)
path.with_suffix(".old").rename(path)
for rest in ("-wal", "-shm"):
    path.with_name(path.name + rest).unlink(missing_ok=True)
PYTHON
}

booted() {
  [ -e "$root.init" ]
}

# User and effective rights of the running service.
collector_rights() {
  local status
  status=/proc/$(inside systemctl show -P MainPID insights-collector)/status
  inside awk '/^Uid:/ { uid = $2 } /^CapEff:/ { rights = $2 } END { print "Uid:" uid " CapEff:" rights }' "$status"
}

# Starts the service: where systemd runs as an operator does, elsewhere what the unit runs, as its user, at free ports ($pid).
collector_start() {
  local unit command
  if booted; then
    inside systemctl enable --quiet --now insights-collector
    web=127.0.0.1:8080 ingest=127.0.0.1:443
    return
  fi
  unit=$root/usr/lib/systemd/system/insights-collector.service
  command=$(sed -n 's/^ExecStartPre=//p' "$unit")
  # shellcheck disable=SC2086 # words of a command
  inside runuser -u insights-collector -- ${command//%H/127.0.0.1} >/dev/null
  user=insights-collector:insights-collector
  environment=(INSIGHTS_INGEST_LISTEN=127.0.0.1:0 INSIGHTS_WEB_LISTEN=127.0.0.1:0)
  # shellcheck disable=SC2046 # words of a command
  start_inside "$work/collector.log" $(sed -n 's/^ExecStart=//p' "$unit")
  user='' environment=()
  within 60 grep -q '^ready ' "$work/collector.log"
  web=$(sed -nE 's/^ready .*\bweb=([^ ]+).*/\1/p' "$work/collector.log")
  ingest=$(sed -nE 's/^ready .*\bingest=([^ ]+).*/\1/p' "$work/collector.log")
}

answers() { # PATH
  python3 -c 'import sys, urllib.request; urllib.request.urlopen(sys.argv[1], timeout=5)' "http://$web$1"
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
