// Dashboards for Grafana, made with its own builders.

import { type Builder, type Dataquery } from '@grafana/grafana-foundation-sdk/cog';
import * as common from '@grafana/grafana-foundation-sdk/common';
import * as dashboard from '@grafana/grafana-foundation-sdk/dashboard';
import * as heatmap from '@grafana/grafana-foundation-sdk/heatmap';
import * as logs from '@grafana/grafana-foundation-sdk/logs';
import * as loki from '@grafana/grafana-foundation-sdk/loki';
import * as nodegraph from '@grafana/grafana-foundation-sdk/nodegraph';
import * as prometheus from '@grafana/grafana-foundation-sdk/prometheus';
import * as stat from '@grafana/grafana-foundation-sdk/stat';
import * as table from '@grafana/grafana-foundation-sdk/table';
import * as tempo from '@grafana/grafana-foundation-sdk/tempo';
import * as timeseries from '@grafana/grafana-foundation-sdk/timeseries';

import type {
  Dashboard, Heatmap, Lines, LogLines, Logs, Panel, Query, ServiceMap, Stat, Step, Table, TraceQl, Traces, Unit, Variable,
} from './model.js';

/** Under these uids `infra/grafana/provisioning/datasources` provisions them. */
const source = (type: string): common.DataSourceRef => ({ type, uid: type });
const PROMETHEUS = source('prometheus');
const LOKI = source('loki');
const TEMPO = source('tempo');
const JAEGER = source('jaeger');

const UNITS: Record<Unit, string> = {
  'requests/s': 'reqps', 'operations/s': 'ops', 'items/s': 'cps', 'lines/s': 'cps', 'per minute': 'cpm',
  seconds: 's', share: 'percentunit', bytes: 'bytes', 'bytes/s': 'Bps', cores: 'short', count: 'short', 'yes or no': 'bool_yes_no',
};

const refId = (index: number): string => String.fromCharCode('A'.charCodeAt(0) + index);

export function grafana(source: Dashboard): dashboard.Dashboard {
  const builder = new dashboard.DashboardBuilder(source.title)
    .uid(source.uid)
    .description(source.description)
    .tags(['lab', ...source.tags])
    .time({ from: source.range, to: 'now' })
    .timezone('browser')
    .refresh('10s')
    .tooltip(dashboard.DashboardCursorSync.Crosshair)
    .editable()
    .link(
      new dashboard.DashboardLinkBuilder('Lab')
        .type(dashboard.DashboardLinkType.Dashboards)
        .tags(['lab'])
        .asDropdown(true)
        .keepTime(true),
    )
    .annotation(firing());
  for (const one of source.variables) {
    builder.withVariable(variable(one));
  }
  let id = 0;
  for (const row of source.rows) {
    builder.withRow(new dashboard.RowBuilder(row.title).id((id += 1)));
    for (const one of row.panels) {
      builder.withPanel(panel(one).id((id += 1)).height(one.height ?? 8).span(one.width));
    }
  }
  return builder.build();
}

/** When alerts fired, on every graph. */
function firing(): dashboard.AnnotationQueryBuilder {
  return new dashboard.AnnotationQueryBuilder()
    .name('Alerts')
    .datasource(PROMETHEUS)
    .enable(true)
    .iconColor('red')
    .expr('max by (alertname, slo, job) (ALERTS{alertstate="firing"})')
    .titleFormat('{{alertname}} {{slo}} {{job}}')
    .step('15s');
}

function variable({ name, title, label, series, first, several }: Variable): dashboard.QueryVariableBuilder {
  const query = `label_values(${series}, ${label})`;
  const builder = new dashboard.QueryVariableBuilder(name)
    .label(title)
    .datasource(PROMETHEUS)
    .query({ query, refId: name })
    .definition(query)
    .refresh(dashboard.VariableRefresh.OnTimeRangeChanged)
    .sort(dashboard.VariableSort.AlphabeticalAsc);
  if (several) {
    // A series without the label belongs to all, too.
    builder.multi(true).includeAll(true).allValue('.*').current({ selected: true, text: ['All'], value: ['$__all'] });
  } else if (first !== undefined) {
    builder.current({ selected: true, text: first, value: first });
  }
  return builder;
}

interface AnyPanel extends Builder<dashboard.Panel> {
  id(id: number): this;
  height(height: number): this;
  span(width: number): this;
}

function panel(source: Panel): AnyPanel {
  switch (source.kind) {
    case 'lines': return lines(source);
    case 'stat': return oneNumber(source);
    case 'table': return rows(source);
    case 'heatmap': return bands(source);
    case 'service map': return serviceMap(source);
    case 'logs': return logLines(source);
    case 'log rate': return logRate(source);
    case 'traces': return traces(source);
    case 'traceql': return traceQl(source);
  }
}

function range(query: Query, index: number): prometheus.DataqueryBuilder {
  const builder = new prometheus.DataqueryBuilder()
    .datasource(PROMETHEUS).refId(refId(index)).expr(query.expr).legendFormat(query.legend).range();
  return query.exemplars ? builder.exemplar(true) : builder;
}

function colours(steps: Step[]): dashboard.ThresholdsConfigBuilder {
  return new dashboard.ThresholdsConfigBuilder()
    .mode(dashboard.ThresholdsMode.Absolute)
    // Whatever is below the first step has its colour.
    .steps(steps.map(([value, color], index) => ({ value: index === 0 ? null : value, color })));
}

function lines(source: Lines): AnyPanel {
  const builder = new timeseries.PanelBuilder()
    .title(source.title).description(source.description).datasource(PROMETHEUS)
    .targets(source.queries.map(range))
    .unit(UNITS[source.unit])
    .lineWidth(1)
    .fillOpacity(source.stacked ? 30 : 10)
    .showPoints(common.VisibilityMode.Auto)
    // Two scrapes may be missed before a line is broken.
    .spanNulls(30_000)
    .legend(new common.VizLegendOptionsBuilder()
      .showLegend(true)
      .displayMode(common.LegendDisplayMode.Table)
      .placement(common.LegendPlacement.Bottom)
      .calcs(['lastNotNull', 'max']))
    .tooltip(new common.VizTooltipOptionsBuilder()
      .mode(common.TooltipDisplayMode.Multi)
      .sort(common.SortOrder.Descending));
  if (source.stacked) {
    builder.stacking(new common.StackingConfigBuilder().mode(common.StackingMode.Normal));
  }
  if (source.min !== undefined) {
    builder.min(source.min);
  }
  if (source.max !== undefined) {
    builder.axisSoftMax(source.max);
  }
  if (source.limit !== undefined) {
    builder
      .thresholds(colours([[-Infinity, 'green'], [source.limit, 'red']]))
      .thresholdsStyle(new common.GraphThresholdsStyleConfigBuilder().mode(common.GraphThresholdsStyleMode.Line));
  }
  return builder;
}

function oneNumber(source: Stat): AnyPanel {
  const builder = new stat.PanelBuilder()
    .title(source.title).description(source.description).datasource(PROMETHEUS)
    .targets(source.queries.map((query, index) => (source.plain ? range(query, index).instant() : range(query, index))))
    .unit(UNITS[source.unit])
    .graphMode(source.plain ? common.BigValueGraphMode.None : common.BigValueGraphMode.Area)
    .colorMode(source.steps ? common.BigValueColorMode.Value : common.BigValueColorMode.None)
    .reduceOptions(new common.ReduceDataOptionsBuilder().calcs(['lastNotNull']))
    // No requests, no share of them.
    .noValue('–');
  if (source.decimals !== undefined) {
    builder.decimals(source.decimals);
  }
  if (source.steps) {
    builder.thresholds(colours(source.steps));
  }
  return builder;
}

function rows(source: Table): AnyPanel {
  const builder = new table.PanelBuilder()
    .title(source.title).description(source.description).datasource(PROMETHEUS)
    .targets(source.queries.map((query, index) =>
      range(query, index).instant().format(prometheus.PromQueryFormat.Table)))
    .unit(UNITS[source.unit])
    .withTransformation({ id: 'merge', options: {} })
    .withTransformation({
      id: 'organize',
      options: {
        excludeByName: { Time: true },
        renameByName: {
          ...source.rows,
          ...Object.fromEntries(source.queries.map((query, index) => [`Value #${refId(index)}`, query.legend])),
        },
      },
    });
  for (const { legend, unit } of source.queries) {
    if (unit !== undefined) {
      builder.overrideByName(legend, [{ id: 'unit', value: UNITS[unit] }]);
    }
  }
  const name = Object.values(source.rows)[0];
  if (source.link && name !== undefined) {
    const url = `/d/${source.link.dashboard}?var-${source.link.variable}=\${__value.text}&\${__url_time_range}`;
    builder.overrideByName(name, [{ id: 'links', value: [{ title: 'Details', url }] }]);
  }
  return builder;
}

function bands(source: Heatmap): AnyPanel {
  return new heatmap.PanelBuilder()
    .title(source.title).description(source.description).datasource(PROMETHEUS)
    .targets(source.queries.map((query, index) => range(query, index).format(prometheus.PromQueryFormat.Heatmap)))
    .calculate(false)
    .yAxis(new heatmap.YAxisConfigBuilder().unit(UNITS[source.unit]))
    .color(new heatmap.HeatmapColorOptionsBuilder().mode(heatmap.HeatmapColorMode.Scheme).scheme('Oranges').steps(64))
    // Bands without an answer are not drawn.
    .filterValues(new heatmap.FilterValueRangeBuilder().le(1e-9));
}

function serviceMap(source: ServiceMap): AnyPanel {
  return new nodegraph.PanelBuilder()
    .title(source.title).description(source.description).datasource(TEMPO)
    .withTarget(new tempo.DataqueryBuilder()
      .datasource(TEMPO).refId('A').queryType(tempo.TempoQueryType.ServiceMap).filters([]));
}

function logLines(source: Logs): AnyPanel {
  return new logs.PanelBuilder()
    .title(source.title).description(source.description).datasource(LOKI)
    .withTarget(new loki.DataqueryBuilder()
      .datasource(LOKI).refId('A').expr(source.expr).queryType('range').maxLines(200))
    .showTime(true)
    .wrapLogMessage(true)
    .enableLogDetails(true)
    .sortOrder(common.LogsSortOrder.Descending);
}

function logRate(source: LogLines): AnyPanel {
  return new timeseries.PanelBuilder()
    .title(source.title).description(source.description).datasource(LOKI)
    .withTarget(new loki.DataqueryBuilder()
      .datasource(LOKI).refId('A').expr(source.expr).legendFormat(source.legend).queryType('range'))
    .unit(UNITS['lines/s'])
    .drawStyle(common.GraphDrawStyle.Bars)
    .fillOpacity(60)
    .stacking(new common.StackingConfigBuilder().mode(common.StackingMode.Normal));
}

/** The SDK has no builder for Jaeger's queries. */
function jaegerSearch(service: string): Builder<Dataquery> {
  const query = {
    refId: 'A', datasource: JAEGER, queryType: 'search', service, limit: 20,
    _implementsDataqueryVariant: () => undefined,
  };
  return { build: () => query };
}

function traces(source: Traces): AnyPanel {
  return new table.PanelBuilder()
    .title(source.title).description(source.description).datasource(JAEGER)
    .withTarget(jaegerSearch(source.service));
}

function traceQl(source: TraceQl): AnyPanel {
  return new table.PanelBuilder()
    .title(source.title).description(source.description).datasource(TEMPO)
    .withTarget(new tempo.DataqueryBuilder()
      .datasource(TEMPO).refId('A').queryType(tempo.TempoQueryType.Traceql).query(source.expr).limit(20)
      .tableType(tempo.SearchTableType.Traces).filters([]));
}
