# SPDX-License-Identifier: Apache-2.0
# Copyright The MidoInsights authors
#
# What the package scripts of every family do. They work where systemd does not run, as in an image that is being made.
unit=insights-collector.service

booted() {
  [ -d /run/systemd/system ]
}

# After the files are there. $1: what was there before, empty at a first installation.
installed() {
  systemd-sysusers insights-collector.conf
  systemd-tmpfiles --create insights-collector.conf
  if booted; then
    systemctl daemon-reload || true
  fi
  if [ -z "$1" ]; then
    echo "midonet-insights-collector: settings are in /etc/insights-collector.toml"
    echo "midonet-insights-collector: to start it now and at every boot: systemctl enable --now insights-collector"
  else
    echo "midonet-insights-collector: where this version's catalogue has another form, the start migrates it, keeps a copy beside it and logs both"
    if booted; then
      systemctl try-restart "$unit" || echo "midonet-insights-collector: it did not start again; see: journalctl -u insights-collector"
    fi
  fi
}

# Before the files go for good.
removing() {
  if booted; then
    systemctl disable --now "$unit" || true
  fi
}

removed() {
  if booted; then
    systemctl daemon-reload || true
  fi
}
