# SPDX-License-Identifier: Apache-2.0
# Copyright The MidoInsights authors
#
# Packages that stand in for what is not to be had here: MidoNet's cluster with its files, epoch and start, its Java, and, for rpm, the system itself.
# The daemon in it is that of tests/daemon. Sourced by run.

# The files of MidoNet's package, below $1.
cluster_files() {
  local share=$1/usr/share/midonet-cluster
  mkdir -p "$share/lib" "$1/etc/midonet" "$1/etc/midonet-cluster" "$1/etc/init" "$1/var/log/midonet-cluster" "$1/lib/systemd/system"
  cp tests/daemon/cluster/target/cluster-0.1.0.jar "$share/midonet-cluster.jar"
  cp tests/daemon/cluster/target/lib/*.jar "$share/lib"
  cp tests/daemon/cluster/src/main/resources/logback.xml "$1/etc/midonet-cluster"
  echo 'JVM_OPTS="-Xmx512m"' >"$1/etc/midonet-cluster/midonet-cluster-env.sh"
  echo '# the bootstrap configuration' >"$1/etc/midonet/midonet.conf"
  echo 'exec /usr/share/midonet-cluster/midonet-cluster-start' >"$1/etc/init/midonet-cluster.conf"
  printf '[Service]\nExecStart=/usr/share/midonet-cluster/midonet-cluster-start\n' >"$1/lib/systemd/system/midonet-cluster.service"
  # MidoNet's class path in MidoNet's order; Guice 4.1 needs the option on a Java newer than MidoNet's.
  cat >"$share/midonet-cluster-start" <<'START'
#!/bin/sh
. /etc/midonet-cluster/midonet-cluster-env.sh
share=/usr/share/midonet-cluster
exec java $JVM_OPTS --add-opens java.base/java.lang=ALL-UNNAMED -Dmidonet-cluster.log.dir=/var/log/midonet-cluster/ \
  -Dmidonet.host_id_filepath=/etc/midonet_host_id.properties -Djava.library.path=/lib:/usr/lib \
  -cp "/etc/midonet-cluster:$share/midonet-cluster.jar:$share/lib/*:$share/addons/*" org.midonet.cluster.ClusterNode "$(cat /etc/midonet/midonet.conf)"
START
  chmod 755 "$share/midonet-cluster-start"
}

java_files() {
  mkdir -p "$1/usr/bin"
  ln -s "$java_home/bin/java" "$1/usr/bin/java"
}

standin_debs() { # FOLDER
  local name stage
  mkdir -p "$1"
  for name in midonet-cluster openjdk-8-jre-headless; do
    stage=$work/standin/$name
    mkdir -p "$stage/DEBIAN"
    {
      echo "Package: $name"
      echo "Maintainer: Nobody <nobody@example.org>"
      if [ "$name" = midonet-cluster ]; then
        printf 'Version: 2:5.4.1\nArchitecture: all\nDepends: openjdk-8-jdk-headless | java8-runtime-headless | java8-runtime\n'
      else
        printf 'Version: 8u77-b03-3\nArchitecture: all\nProvides: java8-runtime-headless\n'
      fi
      echo "Description: stand-in of $name for tests"
    } >"$stage/DEBIAN/control"
    if [ "$name" = midonet-cluster ]; then cluster_files "$stage"; else java_files "$stage"; fi
    dpkg-deb --root-owner-group -Zgzip -z1 --build "$stage" "$1/$name.deb" >/dev/null
  done
}

standin_rpms() { # SYSTEM FOLDER
  local spec=$work/standin/$1.spec java=java-1.8.0-openjdk-headless
  [ "$1" != sles12 ] || java=java-1_8_0-openjdk-headless
  mkdir -p "$2" "$work/standin/cluster" "$work/standin/java"
  [ -d "$work/standin/cluster/usr" ] || cluster_files "$work/standin/cluster"
  [ -d "$work/standin/java/usr" ] || java_files "$work/standin/java"
  cat >"$spec" <<SPEC
%global __os_install_post %{nil}
%global _build_id_links none
%global _binary_payload w1.gzdio
Name: midonet-cluster
Epoch: 2
Version: 5.4.1
Release: 1.0.$1
Summary: stand-in
License: none
BuildArch: noarch
AutoReqProv: no
Requires: $java
%description
stand-in
%package -n $java
Epoch: 1
Version: 1.8.0.77
Summary: stand-in
AutoReqProv: no
%description -n $java
stand-in
# What the root has, which no rpm brought.
%package -n system
Epoch: 0
Version: 1
Summary: stand-in
AutoReqProv: no
Provides: /bin/sh systemd rtld(GNU_HASH) ld-linux-x86-64.so.2()(64bit) ld-linux-x86-64.so.2(GLIBC_2.3)(64bit)
$(system_symbols "$1")
%description -n system
stand-in
%install
cp -a $work/standin/cluster/. %{buildroot}
cp -a $work/standin/java/. %{buildroot}
%files
/usr/share/midonet-cluster/*
/etc/midonet-cluster
/etc/midonet
/etc/init
/lib/systemd/system/midonet-cluster.service
/var/log/midonet-cluster
%files -n $java
/usr/bin/java
%files -n system
SPEC
  rpmbuild -bb --quiet --define "_topdir $work/standin/rpm-$1" "$spec" >"$work/standin/$1.log" 2>&1 || { tail -n 20 "$work/standin/$1.log" >&2; exit 1; }
  mv "$work/standin/rpm-$1"/RPMS/*/*.rpm "$2"
}

# What the C library of a system has: up to glibc 2.17 on those of the plugin, so that a package with newer needs can't be installed.
system_symbols() { # SYSTEM
  local library version
  if [ "$1" = el8 ]; then
    # The collector of the daily profile is made for this machine.
    rpm -qp --requires "$now"/el8/midonet-insights-collector-[0-9]*.rpm "$before"/el8/midonet-insights-collector-[0-9]*.rpm | sed -nE 's/^lib[a-z_]+\.so\.[0-9]+\(.*\)(\(64bit\))?$/Provides: &/p' | sort -u
    return
  fi
  for library in libc.so.6 libm.so.6 libpthread.so.0 libdl.so.2 librt.so.1; do
    echo "Provides: $library()(64bit)"
    for version in 2.2.5 2.3 2.3.2 2.3.3 2.3.4 $(seq -f 2.%g 4 17); do
      echo "Provides: $library(GLIBC_$version)(64bit)"
    done
  done
}
