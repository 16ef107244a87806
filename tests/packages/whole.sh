# SPDX-License-Identifier: Apache-2.0
# Copyright The MidoInsights authors
#
# The installed plugin inside the cluster's JVM, connected to an installed collector. Sourced by run.

cluster_log=var/log/midonet-cluster/midonet-cluster.log

# A ZooKeeper, and the collector as its package left it, with a certificate for the name that the plugin uses.
whole_start() {
  tests/daemon/bin/zookeeper 3.4 --port 0 --data "$work/zookeeper" >"$work/zookeeper.log" 2>&1 &
  children+=($!)
  collector_root=$work/roots/collector-deb
  root=$collector_root
  if [ ! -e "$root" ]; then
    new_root collector-deb
    boot
    deb_setup now "$key"
    deb_install midonet-insights-collector >/dev/null
  fi
  collector_start
  as_collector init --renew --name 127.0.0.1 >/dev/null
  if booted; then
    inside systemctl restart insights-collector
  else
    end "$pid"
    collector_start
  fi
  within 60 answers /health/ready
  as_collector account add --email grace@example.org --name Grace >/dev/null
  as_collector site add --account grace@example.org --name eu-west >/dev/null
  within 60 grep -q '^ready ' "$work/zookeeper.log"
  zookeeper=$(sed -nE 's/^ready [^ ]+ //p' "$work/zookeeper.log")
}

# The three lines that an operator looks for.
run_with() { # SYSTEM FINGERPRINT
  local plugin_root=$root
  root=$collector_root
  as_collector fingerprint add --site eu-west "$2" >/dev/null
  root=$plugin_root
  cp "$collector_root/$data/tls/ca.pem" "$root/etc/midonet-cluster/insights-ca.pem"
  cat >"$root/etc/midonet/midonet.conf" <<CONF
zookeeper.zookeeper_hosts = "$zookeeper"
zookeeper.root_key = "/midonet-$1"
insights_cloud.gateway { host : "${ingest%:*}", port : ${ingest##*:}, ca_file : "/etc/midonet-cluster/insights-ca.pem" }
insights_cloud.recorder { host : "127.0.0.1", port : 0 }
CONF
  cluster_start "$1"
}

cluster_start() { # SYSTEM
  local connected
  rm -f "$root/$cluster_log"
  start_inside "$work/cluster-$1.log" /usr/share/midonet-cluster/midonet-cluster-start
  cluster_pid=$pid
  connected="Gateway client connected to $ingest"
  check "the cluster's log has: Starting cluster minion: insights" within 120 says "Starting cluster minion: insights" "$root/$cluster_log"
  check "the cluster's log has: Starting Insights Cluster service..." within 30 says "Starting Insights Cluster service..." "$root/$cluster_log"
  check "the cluster's log has: $connected" within 60 says "$connected" "$root/$cluster_log"
  check "the library is loaded from its installed path" grep -q " $root/usr/lib/midonet-insights-plugin/libmidonet_insights.so$" "/proc/$cluster_pid/maps"
}

# The daemon ran with the old library while the package was upgraded under it.
upgraded_under() { # SYSTEM
  check "the running cluster outlives the upgrade, with the old library" grep -q 'libmidonet_insights.so (deleted)$' "/proc/$cluster_pid/maps"
  check "its plugin is still connected" inside mn-insights status
  kill "$cluster_pid"
  wait "$cluster_pid" 2>/dev/null || true
  if [ "$1" = deb ]; then
    cluster_start "$1"
    kill "$cluster_pid"
    wait "$cluster_pid" 2>/dev/null || true
  fi
}
