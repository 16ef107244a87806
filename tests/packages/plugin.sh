# SPDX-License-Identifier: Apache-2.0
# Copyright The MidoInsights authors
#
# The life of the plugin's package on one system, with that system's own package manager, from signed repositories. Sourced by run.

state=var/lib/midonet-insights-plugin
# What the package managers say of a signature by an unknown key, and of a package that is not the signed one.
BAD_KEY='NO_PUBKEY|not signed|signature|GPG'
BAD_SUM='hash sum|checksum|unexpected size|digest'

plugin_life() { # SYSTEM
  local system=$1 log=$work/$1.install fingerprint
  echo "plugin on $system"
  new_root "plugin-$system"
  "${system}_base"
  "${system}_setup" before "$key"
  refuses "it needs MidoNet's cluster" midonet-cluster "${system}_install" midonet-insights-plugin
  check "nothing of it was left behind" test ! -e "$root/usr/bin/mn-insights"
  check "a machine that is to get MidoNet later can have it first" logged "$log" "${system}_force"
  check "it makes its key all the same" is "$root" "600 0:0" $state/identity/identity.pem
  "${system}_unforce" >/dev/null 2>&1
  "${system}_standins"
  "${system}_setup" before "$other_key"
  refuses "packages signed with another key are not taken" "$BAD_KEY" "${system}_install" midonet-insights-plugin
  "${system}_setup" tampered "$key"
  refuses "a package that was changed after it was signed is not taken" "$BAD_SUM" "${system}_install" midonet-insights-plugin
  check "nothing of them was left behind" test ! -e "$root/usr/bin/mn-insights"
  "${system}_setup" before "$key"

  check "installs" logged "$log" "${system}_install" midonet-insights-plugin
  fingerprint=$(inside mn-insights show)
  check "says which fingerprint to add" says "add this fingerprint to the site in the Insights manager: $fingerprint" "$log"
  check "says to restart the cluster" says "then run: service midonet-cluster restart" "$log"
  check "the key is not shown" not grep 'PRIVATE\|MIG' "$log"
  plugin_files
  check "is the version before" same "$before_version" "$("${system}_version" midonet-insights-plugin)"
  run_with "$system" "$fingerprint"

  echo waiting >"$root/$state/spool-of-a-day"
  echo 'JVM_OPTS="-Xmx400m"' >"$root/etc/midonet-cluster/midonet-cluster-env.sh"
  local library
  library=$(stat -c %i "$root/usr/lib/midonet-insights-plugin/libmidonet_insights.so")
  "${system}_setup" now "$key"
  check "upgrades" logged "$log" "${system}_upgrade" midonet-insights-plugin
  check "is the new version" same "$now_version" "$("${system}_version" midonet-insights-plugin)"
  check "says what the upgrade needs" says "the new version runs after: service midonet-cluster restart" "$log"
  check "the old library was not written into" test "$library" != "$(stat -c %i "$root/usr/lib/midonet-insights-plugin/libmidonet_insights.so")"
  plugin_files
  kept "$fingerprint"
  upgraded_under "$system"

  check "installs again" logged "$log" "${system}_reinstall" midonet-insights-plugin
  kept "$fingerprint"

  check "is removed" logged "$log" "${system}_remove" midonet-insights-plugin
  check "says what stays" says "key and spool are kept in /$state" "$log"
  check "no program, jar or library stays" test ! -e "$root/usr/bin/mn-insights" -a ! -e "$root/usr/share/midonet-cluster/addons" -a \
    ! -e "$root/usr/lib/midonet-insights-plugin"
  check "the key stays" is "$root" "600 0:0" $state/identity/identity.pem
  check "installs after that" logged "$log" "${system}_install" midonet-insights-plugin
  kept "$fingerprint"

  "${system}_remove" midonet-insights-plugin >/dev/null 2>&1
  "${system}_purge" midonet-insights-plugin >"$log" 2>&1
  check "a purge deletes key and spool" test ! -e "$root/$state"
  check "MidoNet's own files are as they were" test -e "$root/usr/share/midonet-cluster/midonet-cluster.jar"

  mkdir -p -m 700 "$root/$state"
  mount -t tmpfs -o ro,mode=700 none "$root/$state"
  check "installs where nothing can be written" logged "$log" "${system}_install" midonet-insights-plugin
  check "says that there is no key" says "no key could be made" "$log"
  umount "$root/$state"
  check "the key can be made later" inside mn-insights init
  plugin_files

  if [ "$system" = deb ]; then
    "${system}_purge" midonet-insights-plugin >"$log" 2>&1
    check "the README's lines install it" by_readme '# Ubuntu 14.04'
    plugin_files
  fi
}

# Runs the README's lines for apt, from the one with FIRST in it to the one that installs, with files in place of a server.
by_readme() { # FIRST
  local lines
  lines=$(awk -v first="$1" 'index($0, first) { on = 1 } on { print } on && /apt-get install/ { exit }' README.md)
  grep -q 'apt-get install midonet-insights-' <<<"$lines" || { echo "the README has no such lines"; return 1; }
  rm -rf "$root/srv/served" "$root"/etc/apt/sources.list "$root"/var/lib/apt/lists/*
  rm -rf "$root"/etc/apt/keyrings "$root"/etc/apt/trusted.gpg.d/*
  mkdir -p "$root/srv/served"
  cp -r "$repositories/now/apt" "$repositories/now/insights.gpg" "$root/srv/served"
  inside sh -ec '
    REPO=file:///srv/served
    wget() { cp "${3#file://}" "$2"; }
    curl() { cp "${3#file://}" "$2"; }
    '"$lines" </dev/null
}

logged() { # FILE COMMAND...
  local file=$1
  shift
  "$@" >"$file" 2>&1 || { tail -n 20 "$file"; return 1; }
}

plugin_files() {
  check "files are root's, with their modes" plugin_modes
}

plugin_modes() {
  is "$root" "755 0:0" usr/bin/mn-insights &&
    is "$root" "644 0:0" usr/lib/midonet-insights-plugin/libmidonet_insights.so &&
    is "$root" "755 0:0" usr/share/midonet-cluster/addons &&
    is "$root" "644 0:0" usr/share/midonet-cluster/addons/midonet-insights-plugin.jar &&
    is "$root" "644 0:0" usr/share/man/man1/mn-insights.1.gz &&
    is "$root" "644 0:0" usr/share/bash-completion/completions/mn-insights &&
    is "$root" "644 0:0" usr/share/doc/midonet-insights-plugin/THIRD-PARTY.gz &&
    is "$root" "644 0:0" usr/share/doc/midonet-insights-plugin/sbom.cdx.json &&
    is "$root" "700 0:0" $state &&
    is "$root" "700 0:0" $state/identity &&
    is "$root" "600 0:0" $state/identity/identity.pem
}

kept() { # FINGERPRINT
  check "the key is the same" same "$1" "$(inside mn-insights show)"
  check "spool and settings are the same" grep -q 'waiting\|400m' "$root/$state/spool-of-a-day" "$root/etc/midonet-cluster/midonet-cluster-env.sh"
}

# apt-get, in the root itself.

deb_setup() { # REPOSITORY KEY
  mkdir -p "$root/srv" "$root/etc/apt/keyrings"
  rm -rf "$root/srv/repository" "$root"/var/lib/apt/lists/*
  cp -r "$repositories/$1/apt" "$root/srv/repository"
  gpg --batch --export "$2" >"$root/etc/apt/keyrings/insights.gpg"
  echo "deb [signed-by=/etc/apt/keyrings/insights.gpg] file:/srv/repository stable main" >"$root/etc/apt/sources.list"
}

# The root is a system of this kind already.
deb_base() {
  :
}

deb_standins() {
  cp "$work"/standin/deb/*.deb "$root/srv"
  inside sh -c 'dpkg -i /srv/*.deb' >/dev/null
}

deb_update() {
  inside apt-get -q update -o APT::Update::Error-Mode=any
}

deb_install() {
  deb_update && inside apt-get -q -y --no-install-recommends install "$1"
}

deb_upgrade() {
  deb_update && inside apt-get -q -y upgrade
}

deb_reinstall() {
  inside apt-get -q -y --reinstall install "$1"
}

deb_remove() {
  inside apt-get -q -y remove "$1"
}

deb_purge() {
  inside apt-get -q -y purge "$1"
}

# Without what it depends on.
deb_force() {
  inside sh -c 'dpkg --force-depends -i /srv/repository/pool/main/midonet-insights-plugin_*.deb'
}

deb_unforce() {
  inside dpkg -P midonet-insights-plugin
}

deb_version() {
  inside dpkg-query -W -f '${Version}' "$1" | sed 's/-.*//'
}

# Debian's rpm warns that it is not the system's own.
rpm_in() {
  rpm --root "$root" "$@" 2> >(grep -v '^rpm: ' >&2)
}

# dnf, which speaks yum's language, from outside of the root.

dnf_in() {
  dnf -q -y --installroot="$root" --releasever=7 --setopt=reposdir="$root/etc/yum.repos.d" --setopt=varsdir="$root/etc/yum.vars" \
    --setopt=cachedir="$root/var/cache/dnf" --setopt=plugins=0 --setopt=metadata_expire=0 --setopt=install_weak_deps=0 "$@"
}

yum_setup() { # SYSTEM REPOSITORY KEY
  mkdir -p "$root/srv" "$root/etc/yum.repos.d"
  rm -rf "$root/srv/repository" "$root/var/cache/dnf"
  cp -r "$repositories/$2/yum/$1" "$root/srv/repository"
  gpg --batch --armor --export "$3" >"$root/srv/insights.asc"
  sed -e "s|^baseurl=.*|baseurl=file://$root/srv/repository|" -e "s|^gpgkey=.*|gpgkey=file://$root/srv/insights.asc|" \
    "$repositories/$2/yum/$1.repo" >"$root/etc/yum.repos.d/insights.repo"
}

el7_setup() {
  yum_setup el7 "$@"
}

el7_base() {
  rpm_in -i "$work/standin/el7"/system-*.rpm
}

el7_standins() {
  rpm_in -i "$work/standin/el7"/midonet-cluster-*.rpm "$work/standin/el7"/java-*.rpm
}

el7_install() {
  dnf_in install "$1" && el7_version "$1" && dnf_says
}

el7_upgrade() {
  dnf_in upgrade "$1" && dnf_says
}

el7_reinstall() {
  dnf_in reinstall "$1" && dnf_says
}

el7_remove() {
  dnf_in remove "$1" && dnf_says
}

# What scriptlets said is in dnf's own log when it is quiet.
dnf_says() {
  cat "$root"/var/log/dnf.rpm.log
}

# rpm knows no purge: what the guide says to do.
el7_purge() {
  rm -rf "${root:?}/$state"
}

el7_force() {
  rpm_in -i --nodeps "$root"/srv/repository/midonet-insights-plugin-[0-9]*.rpm
}

el7_unforce() {
  rpm_in -e midonet-insights-plugin
  el7_purge
}

el7_version() {
  rpm --root "$root" -q --qf '%{version}' "$1"
}

# zypper, from outside of the root.

zypper_in() {
  zypper --root "$root" --non-interactive "$@"
}

sles12_setup() { # REPOSITORY KEY
  mkdir -p "$root/srv"
  rm -rf "$root/srv/repository" "$root/etc/zypp/repos.d" "$root/var/cache/zypp"
  rpm --root "$root" -e --allmatches gpg-pubkey >/dev/null 2>&1 || true
  cp -r "$repositories/$1/zypper/sles12" "$root/srv/repository"
  gpg --batch --armor --export "$2" >"$root/srv/insights.asc"
  rpm --root "$root" --import "$root/srv/insights.asc"
  rm -f "$root/srv/repository/repodata/repomd.xml.key"
  zypper_in addrepo --gpgcheck "dir:$root/srv/repository" insights >/dev/null
}

sles12_base() {
  rpm_in -i "$work/standin/sles12"/system-*.rpm
}

sles12_standins() {
  rpm_in -i "$work/standin/sles12"/midonet-cluster-*.rpm "$work/standin/sles12"/java-*.rpm
}

sles12_install() {
  zypper_in install --no-recommends "$1"
}

sles12_upgrade() {
  zypper_in update "$1"
}

sles12_reinstall() {
  zypper_in install --force "$1"
}

sles12_remove() {
  zypper_in remove "$1"
}

sles12_purge() {
  el7_purge
}

sles12_force() {
  el7_force
}

sles12_unforce() {
  el7_unforce
}

sles12_version() {
  el7_version "$1"
}
