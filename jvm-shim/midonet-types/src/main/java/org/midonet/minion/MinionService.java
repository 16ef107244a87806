// SPDX-License-Identifier: Apache-2.0
// Copyright The MidoInsights authors

package org.midonet.minion;

import java.lang.annotation.ElementType;
import java.lang.annotation.Retention;
import java.lang.annotation.RetentionPolicy;
import java.lang.annotation.Target;

/** By this annotation the daemons find their minions. */
@Retention(RetentionPolicy.RUNTIME)
@Target(ElementType.TYPE)
public @interface MinionService {
    String name();

    TargetNode runsOn();

    /** The daemon that a minion belongs to. */
    enum TargetNode {
        AGENT, CLUSTER
    }
}
