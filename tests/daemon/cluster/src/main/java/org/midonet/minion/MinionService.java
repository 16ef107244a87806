// SPDX-License-Identifier: Apache-2.0
// Copyright The MidoInsights authors

package org.midonet.minion;

import java.lang.annotation.ElementType;
import java.lang.annotation.Retention;
import java.lang.annotation.RetentionPolicy;
import java.lang.annotation.Target;

@Retention(RetentionPolicy.RUNTIME)
@Target(ElementType.TYPE)
public @interface MinionService {
    String name();

    TargetNode runsOn();

    enum TargetNode {
        AGENT, CLUSTER
    }
}
