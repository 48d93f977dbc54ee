import type { DashboardResource } from '@perses-dev/core';
import { ask } from '../../api/ask';

export interface DashboardItem {
  name: string;
  title: string;
  description: string;
}

export async function getDashboards(): Promise<DashboardItem[]> {
  return ask<DashboardItem[]>('/api/dashboards');
}

export async function getDashboard(name: string): Promise<DashboardResource> {
  const dashboard = await ask<DashboardResource>(`/api/dashboards/${encodeURIComponent(name)}`);
  for (const panel of Object.values(dashboard.spec.panels)) {
    const { legend } = panel.spec.plugin.spec as { legend?: { mode?: string; values?: string[] } };
    // As a table it would take most of a panel of the usual height.
    if (legend?.mode === 'table') {
      legend.mode = 'list';
      delete legend.values;
    }
  }
  return dashboard;
}
