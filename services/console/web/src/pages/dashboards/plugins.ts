import type { DatasourceSelector, GlobalDatasourceResource } from '@perses-dev/core';
import type { DatasourceApi } from '@perses-dev/dashboards';
import { dynamicImportPluginLoader } from '@perses-dev/plugin-system';
import * as prometheus from '@perses-dev/prometheus-plugin';
import * as stat from '@perses-dev/stat-chart-plugin';
import * as table from '@perses-dev/table-plugin';
import * as timeSeriesTable from '@perses-dev/timeseries-table-plugin';
import * as timeSeries from '@perses-dev/timeseries-chart-plugin';

/** Linked into the page: nothing is loaded from elsewhere. */
export const pluginLoader = dynamicImportPluginLoader(
  [prometheus, stat, table, timeSeries, timeSeriesTable].map((module) => ({
    resource: module.getPluginModule(),
    importPlugin: () => Promise.resolve(module),
  })),
);

/** Prometheus through the console's server. */
const PROMETHEUS: GlobalDatasourceResource = {
  kind: 'GlobalDatasource',
  metadata: { name: 'prometheus' },
  spec: {
    default: true,
    plugin: { kind: 'PrometheusDatasource', spec: { directUrl: '/proxy/prometheus', scrapeInterval: '5s' } },
  },
};

const is = ({ kind, name }: DatasourceSelector) =>
  kind === PROMETHEUS.spec.plugin.kind && (name === undefined || name === PROMETHEUS.metadata.name);

export const datasources: DatasourceApi = {
  getDatasource: () => Promise.resolve(undefined),
  getGlobalDatasource: (selector) => Promise.resolve(is(selector) ? PROMETHEUS : undefined),
  listDatasources: () => Promise.resolve([]),
  listGlobalDatasources: (kind) =>
    Promise.resolve(kind === undefined || kind === PROMETHEUS.spec.plugin.kind ? [PROMETHEUS] : []),
};
