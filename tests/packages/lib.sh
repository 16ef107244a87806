# SPDX-License-Identifier: Apache-2.0
# Copyright The MidoInsights authors
#
# Checks, roots to install into, and what is common to all package tests. Sourced by run.

passed=0 failed=0
before_version=0.0.9
cache=$PWD/target/packages/roots
mkdir -p "$cache"
# Programs that were started, and how the next one is.
children=() environment=() user=''

# Says what comes next, and what processor time everything before took: the clock says little on a busy machine.
step() {
  echo "$(date +%T) $* (so far $(awk -v t="$(grep -h . /proc/$$/stat | awk '{ print $14 + $15 + $16 + $17 }')" -v hz="$(getconf CLK_TCK)" 'BEGIN { printf "%d", t / hz }') s of a processor)"
}

# check WHAT COMMAND...: the command must succeed.
check() {
  local what=$1 output
  shift
  if output=$("$@" 2>&1); then
    passed=$((passed + 1))
    echo "  ok      $what"
  else
    failed=$((failed + 1))
    printf '  FAILED  %s\n' "$what"
    printf '          %s\n' "$*"
    tail -n 15 <<<"$output" | sed 's/^/          /'
  fi
}

# refuses WHAT WHY COMMAND...: the command must fail, and say something that matches WHY.
refuses() {
  local what=$1 why=$2
  shift 2
  check "$what" fails_with "$why" "$@"
}

fails_with() { # WHY COMMAND...
  local why=$1 output
  shift
  if output=$("$@" 2>&1); then
    echo "this was to fail"
    return 1
  fi
  grep -qiE -- "$why" <<<"$output" || { echo "failed for another reason than $why:"; echo "$output"; return 1; }
}

not() {
  if "$@"; then
    echo "this was to fail"
    return 1
  fi
}

same() { # EXPECTED FOUND
  [ "$1" = "$2" ] || { printf 'expected: %s\nfound:    %s\n' "$1" "$2"; return 1; }
}

says() { # TEXT FILE
  grep -qF -- "$1" "$2" || { echo "nothing says: $1"; tail -n 15 "$2"; return 1; }
}

# Mode, owner and path of a file of a root.
is() { # ROOT "MODE USER:GROUP" PATH
  same "$2" "$(stat -c '%a %u:%g' "$1/$3")"
}

within() { # SECONDS COMMAND...
  local end=$((SECONDS + $1))
  shift
  until "$@" >/dev/null 2>&1; do
    [ $SECONDS -lt $end ] || { "$@"; return 1; }
    sleep 0.2
  done
}

# A Debian system without anything of ours, made once and copied.
base_root() {
  local base=$cache/base
  [ ! -e "$base" ] || return 0
  local attempt mirror
  # Where this machine takes its own packages from. Mirrors fail at times.
  mirror=$(apt-get indextargets --format '$(SITE)' 'Created-By: Packages' 'Codename: bookworm' 2>/dev/null | head -n 1)
  for attempt in 1 2 3; do
    rm -rf --one-file-system "$base.part"
    if debootstrap --variant=minbase --include=systemd,libstdc++6 bookworm "$base.part" ${mirror:+"$mirror"} >"$work/debootstrap.log" 2>&1; then
      rm -rf "$base.part"/var/cache/apt/archives/*.deb
      mv "$base.part" "$base"
      return 0
    fi
    tail -n 20 "$work/debootstrap.log" >&2
    sleep $((attempt * 10))
  done
  exit 1
}

# A layer above it, or a copy where layers can't be had, with the mounts that programs expect. run takes them away at its end.
new_root() { # NAME: sets $root
  local layer=$work/layers/$1
  root=$work/roots/$1
  mkdir -p "$root" "$layer/upper" "$layer/work"
  chmod 755 "$root" "$layer/upper"
  mount -t overlay -o "lowerdir=$cache/base,upperdir=$layer/upper,workdir=$layer/work" overlay "$root" 2>/dev/null || cp -a "$cache/base/." "$root"
  mount -t proc proc "$root/proc"
  # The JVM of the stand-in package is that of this machine, not to be written into.
  local folder
  for folder in "$java_home" /etc/java-*; do
    [ -d "$folder" ] || continue
    mkdir -p "$root$folder"
    mount --bind "$folder" "$root$folder"
    mount -o remount,bind,ro "$root$folder"
  done
}

# Programs, mounts and files of these tests.
finish() {
  local child folder
  for child in "${children[@]}"; do
    # Not what got the number of one that ended.
    [ "$(ps -o ppid= -p "$child" | tr -d ' ')" = $$ ] || continue
    kill -9 "$child" 2>/dev/null || true
    wait "$child" 2>/dev/null || true
  done
  gpgconf --kill all 2>/dev/null || true
  for folder in $(awk -v work="$work/" 'index($2, work) == 1 { print $2 }' /proc/self/mounts | sort -r); do
    umount -l "$folder"
  done
  # Never through a mount into the machine's own folders.
  if grep -qF " $work/" /proc/self/mounts; then
    echo "tests/packages: $work still has mounts and is left alone" >&2
  elif [ -z "${INSIGHTS_KEEP:-}" ]; then
    rm -rf --one-file-system "$work"
  fi
}

# start_inside FILE COMMAND...: runs a program in $root, its output in FILE, its id in $pid.
start_inside() {
  local file=$1
  shift
  (exec env -i PATH=/usr/sbin:/usr/bin:/sbin:/bin LANG=C.UTF-8 "${environment[@]}" chroot ${user:+--userspec="$user"} "$root" "$@") >"$file" 2>&1 &
  pid=$!
  children+=("$pid")
}

inside() { # COMMAND... in $root, in its booted system where there is one
  local enter=()
  [ ! -e "$root.init" ] || enter=(nsenter --target "$(cat "$root.init")" --mount --pid --uts --ipc --cgroup)
  env -i PATH=/usr/sbin:/usr/bin:/sbin:/bin LANG=C.UTF-8 DEBIAN_FRONTEND=noninteractive "${enter[@]}" chroot "$root" "$@"
}

# Boots the system of $root: systemd itself, in namespaces of its own. Where this machine gives no cgroup tree to boot with, its services are run
# without it, and a line says so.
boot() {
  unshare --mount --propagation private --pid --uts --ipc --cgroup --fork --kill-child bash -c '
    set -e
    mount --bind "$1" "$1"
    mount -t proc proc "$1/proc"
    mount -t sysfs -o ro sysfs "$1/sys"
    mount -t tmpfs tmpfs "$1/run"
    mount -t tmpfs tmpfs "$1/tmp"
    mount -t cgroup2 cgroup2 "$1/sys/fs/cgroup"
    container=test exec chroot "$1" /lib/systemd/systemd --log-target=journal' boot "$root" >"$work/boot.log" 2>&1 &
  local outer=$!
  children+=("$outer")
  if within 30 pgrep -P "$outer" && pgrep -P "$outer" >"$root.init" && within 60 is_up; then return; fi
  echo "  systemd does not boot here: $(tail -n 1 "$work/boot.log"); its services are run without it"
  kill -9 "$outer" 2>/dev/null || true
  wait "$outer" 2>/dev/null || true
  rm -f "$root.init"
}

is_up() {
  local state
  state=$(inside systemctl is-system-running)
  [ "$state" = running ] || { echo "the system is $state"; inside systemctl list-units --state=failed --no-pager; return 1; }
}

# A signing key of its own; its id is printed.
make_key() { # NAME
  gpg --batch --quiet --passphrase '' --quick-gen-key "$1 <$1@example.org>" rsa3072 sign never 2>/dev/null
  gpg --batch --with-colons --list-keys "$1@example.org" | awk -F: '$1 == "fpr" { print $10; exit }'
}

end() { # PID: ends a program of these tests and waits for it
  kill "$1" 2>/dev/null || true
  wait "$1" 2>/dev/null || true
}
