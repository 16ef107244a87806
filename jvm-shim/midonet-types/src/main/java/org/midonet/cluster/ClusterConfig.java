// SPDX-License-Identifier: Apache-2.0
// Copyright The MidoInsights authors

package org.midonet.cluster;

import com.typesafe.config.Config;

/** The configuration of the cluster's node, as MidoNet merged it from all of its sources. */
public class ClusterConfig {
    private final Config conf;

    public ClusterConfig(Config conf) {
        this.conf = conf;
    }

    /** The whole tree, with the keys of plugins. */
    public Config conf() {
        return conf;
    }
}
