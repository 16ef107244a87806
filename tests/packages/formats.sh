# SPDX-License-Identifier: Apache-2.0
# Copyright The MidoInsights authors
#
# What the packages are made of: formats that the package managers of old systems read, one binary in all of them, nothing newer in it than those
# systems know, and no complaint of the linters. Sourced by run.

# What rpm 4.11 can do.
RPM_FEATURES='rpmlib(CompressedFileNames) rpmlib(FileDigests) rpmlib(PayloadFilesHavePrefix) rpmlib(PayloadIsXz)'

formats() {
  echo "formats"
  local system package
  for package in "$now"/deb/*.deb; do
    check "$(basename "$package") is for dpkg 1.17.5" deb_is_old "$package"
  done
  for system in el7 sles12; do
    for package in "$now/$system"/*.rpm; do
      check "$(basename "$package") is for rpm 4.11" rpm_is_old "$package"
    done
    check "the release says $system" same "1.$system" "$(rpm -qp --qf '%{release}' "$now/$system"/midonet-insights-plugin-[0-9]*.rpm)"
  done
  for package in "$repositories/now/yum/el7"/*.rpm "$repositories/now/zypper/sles12"/*.rpm; do
    check "$(basename "$package") is signed over header and payload, for rpm before 4.14" signed_for_old_rpm "$package"
  done
  rpmkeys --dbpath "$work/rpmdb" --import "$repositories/now/insights.asc"
  check "rpm itself finds the signatures good" rpmkeys --dbpath "$work/rpmdb" --checksig "$repositories"/now/*/*/*.rpm
  refuses "rpm itself finds a changed package bad" 'not ok' rpmkeys --dbpath "$work/rpmdb" --checksig "$repositories"/tampered/yum/el7/midonet-insights-plugin-[0-9]*.rpm
  unpack deb
  unpack el7
  unpack sles12
  check "one library, one program, one jar for all systems" same_everywhere
  local unpacked=$work/unpacked/deb
  check "no key is packaged" nothing_named "$work/unpacked" '*.pem'
  check "glibc 2.17 at most" glibc_2_17 "$unpacked"
  [ -z "$given" ] || check "glibc 2.17 at most for the collector, too" collector_glibc_2_17
  check "class version 52" same 'major version: 52' "$(javap -v -cp "$unpacked/usr/share/midonet-cluster/addons/midonet-insights-plugin.jar" \
    org.midonet.insights.cloud.InsightsMinion | sed -n 's/^ *\(major version.*\)/\1/p')"
  newer_is_refused
  check "the bill of materials lists what the program says it is made of" bill_is_whole "$unpacked"
  check "debug symbols belong to the library" debug_fits
  check "lintian has nothing to say" lintian --pedantic --allow-root --fail-on error,warning,info,pedantic "$now"/deb/midonet-insights-*.deb
  check "rpmlint has nothing to say" rpmlint_is_quiet "$repositories"/now/yum/el7/*.rpm "$repositories"/now/zypper/sles12/*.rpm "$repositories"/now/yum/el8/*.rpm
  if [ -z "$given" ]; then
    INSIGHTS_PACKAGES=plugin packaging/make-packages --profile dev --out "$work/again" >/dev/null
    check "packing again gives the same bytes" same_packages "$now" "$work/again"
  fi
}

# xz is known for data alone before dpkg 1.17.6, zstd for nothing.
deb_is_old() {
  same 'debian-binary control.tar.gz data.tar.xz' "$(ar t "$1" | tr '\n' ' ' | sed 's/data.tar.gz/data.tar.xz/;s/ $//')" && same 2.0 "$(ar p "$1" debian-binary)"
}

rpm_is_old() {
  local feature
  same 'cpio gzip 8' "$(rpm -qp --qf '%{payloadformat} %{payloadcompressor} %{filedigestalgo}' "$1")" || return 1
  for feature in $(rpm -qp --requires "$1" | grep -o '^rpmlib([A-Za-z]*)'); do
    [[ " $RPM_FEATURES " = *" $feature "* ]] || { echo "needs $feature"; return 1; }
  done
  # A rich dependency is in brackets.
  not grep -q '^(' <(rpm -qp --requires --recommends --suggests --supplements "$1")
}

signed_for_old_rpm() {
  rpm -qp --qf '%{SIGPGP:pgpsig}\n' "$1" 2>/dev/null | grep 'RSA/SHA256'
}

unpack() { # SYSTEM
  local package to=$work/unpacked/$1
  mkdir -p "$to"
  for package in "$now/$1"/midonet-insights-plugin*; do
    if [ "$1" = deb ]; then dpkg-deb -x "$package" "$to"; else (cd "$to" && rpm2cpio "$package" | cpio -idm --quiet); fi
  done
}

same_everywhere() {
  local file system
  for file in usr/bin/mn-insights usr/lib/midonet-insights-plugin/libmidonet_insights.so usr/share/midonet-cluster/addons/midonet-insights-plugin.jar; do
    for system in el7 sles12; do
      cmp "$work/unpacked/deb/$file" "$work/unpacked/$system/$file" || return 1
    done
  done
}

nothing_named() { # FOLDER PATTERN
  same '' "$(find "$1" -name "$2")"
}

glibc_2_17() { # FOLDER
  glibc_at_most_2_17 "$1"/usr/bin/mn-insights "$1"/usr/lib/midonet-insights-plugin/*.so
}

collector_glibc_2_17() {
  local unpacked=$work/unpacked/collector
  mkdir -p "$unpacked/deb" "$unpacked/el8"
  dpkg-deb -x "$now"/deb/midonet-insights-collector_*.deb "$unpacked/deb"
  (cd "$unpacked/el8" && rpm2cpio "$now"/el8/midonet-insights-collector-[0-9]*.rpm | cpio -idm --quiet)
  cmp "$unpacked/deb/usr/bin/insights-collector" "$unpacked/el8/usr/bin/insights-collector" &&
    glibc_at_most_2_17 "$unpacked/deb/usr/bin/insights-collector"
}

glibc_at_most_2_17() { # FILE...
  local file newest
  for file; do
    newest=$(objdump -T "$file" | grep -o 'GLIBC_[0-9.]*' | sort -uV | tail -n 1)
    [ "$(printf '%s\nGLIBC_2.17\n' "$newest" | sort -V | tail -n 1)" = GLIBC_2.17 ] || { echo "$file needs $newest"; return 1; }
  done
}

# The build's own check is one that can fail: it meets a program of this machine, an instruction of later processors, a class of Java 9.
newer_is_refused() {
  local folder=$work/newer
  mkdir -p "$folder"
  echo 'int main(void) { return fcntl(0, 1); }' | cc -w -include fcntl.h -x c -o "$folder/program" -
  refuses "the build refuses what needs a newer glibc" 'needs glibc 2\.[0-9]*, 2\.17 is the most' packaging/check-binaries "$folder/program"
  echo 'void wide(void) { __asm__("vzeroupper"); }' | cc -x c -shared -nostdlib -o "$folder/wide.so" -
  refuses "the build refuses instructions of newer processors" 'has `vzeroupper. in wide' packaging/check-binaries "$folder/wide.so"
  python3 - "$folder/newer.jar" <<'PYTHON'
import struct, sys, zipfile

with zipfile.ZipFile(sys.argv[1], "w") as jar:
    for name, data in {"org/": b"", "org/midonet/": b"", "org/midonet/A.class": struct.pack(">IHH", 0xCAFEBABE, 0, 53)}.items():
        jar.writestr(name, data)
PYTHON
  refuses "the build refuses classes of a newer Java" 'A.class has class version 53' packaging/check-binaries "$folder/newer.jar"
}

# What cargo-auditable wrote into the library against the bill beside it.
bill_is_whole() {
  objcopy --dump-section .dep-v0="$work/audit" "$1/usr/lib/midonet-insights-plugin/libmidonet_insights.so" /dev/null &&
    python3 - "$work/audit" "$1/usr/share/doc/midonet-insights-plugin/sbom.cdx.json" <<'PYTHON'
import json, sys, zlib

audit = json.loads(zlib.decompress(open(sys.argv[1], "rb").read()))
bill = {(c["name"], c["version"]) for c in json.load(open(sys.argv[2]))["components"]}
others = {(p["name"], p["version"]) for p in audit["packages"] if p.get("kind", "runtime") == "runtime" and p["source"] == "crates.io"}
# Macros run in the compiler; cargo-auditable lists them as it can't tell.
missing = {name for name, _ in others - bill if not name.endswith(("-macros", "_derive", "-derive", "-impl", "_macros"))}
assert len(others & bill) > 50, f"only {len(others & bill)} crates are in both"
print(sorted(missing))
PYTHON
}

debug_fits() {
  local id
  id=$(readelf -n "$work/unpacked/deb/usr/lib/midonet-insights-plugin/libmidonet_insights.so" | sed -nE 's/.*Build ID: //p')
  objdump -h "$work/unpacked/deb/usr/lib/debug/.build-id/${id:0:2}/${id:2}.debug" | grep '\.debug_line'
}

rpmlint_is_quiet() {
  local output
  output=$(rpmlint -c rpm/rpmlint.toml "$@" 2>&1 || true)
  grep -qE ' 0 errors, 0 warnings' <<<"$output" || { echo "$output"; return 1; }
}

# Everything of the second folder is in the first, byte for byte.
same_packages() { # FOLDER FOLDER
  local file
  [ "$(find "$2" -type f | wc -l)" -ge 7 ] || { echo "too little in $2"; return 1; }
  (cd "$2" && find . -type f) | while read -r file; do
    cmp "$1/$file" "$2/$file" || exit 1
  done
}

# Everything compiled once more, from nothing.
again() {
  echo "a second build"
  local profile=dev
  [ -z "$given" ] || profile=release
  packaging/make-packages --profile $profile --fresh --out "$work/fresh" >/dev/null
  check "compiling again gives the same bytes" same_packages "$now" "$work/fresh"
}
