// SPDX-License-Identifier: Apache-2.0
// Copyright The MidoInsights authors

package org.midonet.cluster.storage;

import java.util.concurrent.TimeUnit;

import com.typesafe.config.Config;

public class MidonetBackendConfig {
    private final Config conf;

    public MidonetBackendConfig(Config conf) {
        this.conf = conf;
    }

    public String hosts() {
        return conf.getString("zookeeper.zookeeper_hosts");
    }

    public int sessionTimeout() {
        return (int) conf.getDuration("zookeeper.session_timeout", TimeUnit.MILLISECONDS);
    }

    public int graceTime() {
        return (int) conf.getDuration("zookeeper.session_gracetime", TimeUnit.MILLISECONDS);
    }

    public String rootKey() {
        String key = conf.getString("zookeeper.root_key");
        return key.equals("/midonet/v1") ? "/midonet" : key;
    }
}
