import type { DashboardResource } from '@perses-dev/core';
import {
  Dashboard,
  DashboardProvider,
  DatasourceStoreProvider,
  VariableList,
  VariableProviderWithQueryParams,
} from '@perses-dev/dashboards';
import {
  PluginRegistry,
  ReactRouterProvider,
  TimeRangeControls,
  TimeRangeProviderWithQueryParams,
  useInitialRefreshInterval,
  useInitialTimeRange,
  usePluginBuiltinVariableDefinitions,
} from '@perses-dev/plugin-system';
import { useQuery } from '@tanstack/react-query';
import { Link, useParams } from 'react-router-dom';
import { QueryParamProvider } from 'use-query-params';
import { ReactRouter6Adapter } from 'use-query-params/adapters/react-router-6';
import Perses from '../../parts/perses';
import { Loading, Problem } from '../../parts/state';
import { useTitle } from '../../parts/title';
import { Exemplars } from './exemplars';
import { getDashboard } from './list';
import { datasources, pluginLoader } from './plugins';
import './style.css';

export default function DashboardPage() {
  const name = useParams()['name'] ?? '';
  const dashboard = useQuery({ queryKey: ['dashboard', name], queryFn: () => getDashboard(name) });
  const title = dashboard.data?.spec.display?.name ?? name;
  useTitle(title);
  if (dashboard.isLoading) return <Loading what="the dashboard" />;
  if (!dashboard.data) {
    return (
      <>
        <Problem what="The dashboard cannot be shown" error={dashboard.error} again={() => void dashboard.refetch()} />
        <p>
          <Link to="/dashboards">All dashboards</Link>
        </p>
      </>
    );
  }
  return (
    <Providers>
      <View key={name} dashboard={dashboard.data} />
    </Providers>
  );
}

/** What the panels find in their surroundings. */
function Providers({ children }: { children: React.ReactNode }) {
  return (
    <QueryParamProvider adapter={ReactRouter6Adapter}>
      <Perses>
        <ReactRouterProvider>
          <PluginRegistry pluginLoader={pluginLoader}>{children}</PluginRegistry>
        </ReactRouterProvider>
      </Perses>
    </QueryParamProvider>
  );
}

function View({ dashboard }: { dashboard: DashboardResource }) {
  const { spec, metadata } = dashboard;
  const range = useInitialTimeRange(spec.duration);
  const interval = useInitialRefreshInterval(spec.refreshInterval ?? '10s');
  const builtin = usePluginBuiltinVariableDefinitions();
  return (
    <DatasourceStoreProvider dashboardResource={dashboard} projectName={metadata.project} datasourceApi={datasources}>
      <DashboardProvider initialState={{ dashboardResource: dashboard, isEditMode: false }}>
        <TimeRangeProviderWithQueryParams initialTimeRange={range} initialRefreshInterval={interval}>
          <VariableProviderWithQueryParams
            initialVariableDefinitions={spec.variables}
            builtinVariableDefinitions={builtin.data ?? []}
          >
            <section className="dashboard">
              <div className="head">
                <h1>
                  <Link to="/dashboards">Dashboards</Link> / {spec.display?.name ?? metadata.name}
                </h1>
                <TimeRangeControls showCustomTimeRange showRefreshButton showRefreshInterval showZoomButtons />
              </div>
              {spec.display?.description && <p className="note">{spec.display.description}</p>}
              {spec.variables.length > 0 && (
                <div className="variables">
                  <VariableList />
                </div>
              )}
              {spec.variables.some(({ spec: { name } }) => name === 'service' || name === 'job') && <Exemplars />}
              <Dashboard panelOptions={{ hideHeader: false }} />
            </section>
          </VariableProviderWithQueryParams>
        </TimeRangeProviderWithQueryParams>
      </DashboardProvider>
    </DatasourceStoreProvider>
  );
}
