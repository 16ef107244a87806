// SPDX-License-Identifier: Apache-2.0
// Copyright The MidoInsights authors

package org.midonet.minion;

import com.google.common.util.concurrent.AbstractService;

public abstract class Minion extends AbstractService {
    public Minion(package$Context context) {
    }

    public abstract boolean isEnabled();
}
