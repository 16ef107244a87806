// SPDX-License-Identifier: Apache-2.0
// Copyright The MidoInsights authors

package org.midonet.cluster;

import com.typesafe.config.Config;

import org.midonet.cluster.storage.MidonetBackendConfig;

public class ClusterConfig {
    private final Config conf;
    private final MidonetBackendConfig backend;

    public ClusterConfig(Config conf) {
        this.conf = conf.resolve();
        this.backend = new MidonetBackendConfig(this.conf);
    }

    public Config conf() {
        return conf;
    }

    public MidonetBackendConfig backend() {
        return backend;
    }
}
