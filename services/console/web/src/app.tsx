import { useQuery } from '@tanstack/react-query';
import { Component, lazy, Suspense } from 'react';
import type { ReactNode } from 'react';
import { NavLink, Route, Routes, useLocation } from 'react-router-dom';
import { getLab } from './api/lab';
import { Loading } from './parts/state';
import { useTitle } from './parts/title';
import { setTheme, useTheme } from './theme';

const LabPage = lazy(() => import('./pages/lab/page'));
const TracesPage = lazy(() => import('./pages/traces/search-page'));
const TracePage = lazy(() => import('./pages/traces/trace-page'));
const LogsPage = lazy(() => import('./pages/logs/page'));
const ProfilesPage = lazy(() => import('./pages/profiles/page'));
const DashboardsPage = lazy(() => import('./pages/dashboards/list-page'));
const DashboardPage = lazy(() => import('./pages/dashboards/page'));
const IncidentsPage = lazy(() => import('./pages/incidents/page'));
const ServicePage = lazy(() => import('./pages/services/page'));
const SlosPage = lazy(() => import('./pages/slos/page'));

/** Those with a name are not in every lab. */
const PAGES = [
  { to: '/', label: 'Lab' },
  { to: '/traces', label: 'Traces' },
  { to: '/logs', label: 'Logs' },
  { to: '/profiles', label: 'Profiles' },
  { to: '/dashboards', label: 'Dashboards', name: 'dashboards' },
  { to: '/slos', label: 'SLOs and alerts' },
  { to: '/incidents', label: 'Incidents', name: 'incidents' },
];

export function App() {
  const { pathname } = useLocation();
  const lab = useQuery({ queryKey: ['lab'], queryFn: getLab, staleTime: 60_000 });
  const pages = PAGES.filter(({ name }) => name === undefined || lab.data?.pages.includes(name));
  return (
    <>
      <a className="skip" href="#main">
        Skip to the page
      </a>
      <header className="top">
        <span className="brand">Observability lab</span>
        <nav aria-label="Pages">
          {pages.map(({ to, label }) => (
            <NavLink key={to} to={to} end={to === '/'}>
              {label}
            </NavLink>
          ))}
        </nav>
        <ThemeButton />
      </header>
      <main id="main" tabIndex={-1}>
        {/* A page that broke does not take the others along. */}
        <Fence key={pathname}>
          <Suspense fallback={<Loading what="the page" />}>
            <Routes>
              <Route path="/" element={<LabPage />} />
              <Route path="/traces" element={<TracesPage />} />
              <Route path="/traces/:id" element={<TracePage />} />
              <Route path="/logs" element={<LogsPage />} />
              <Route path="/profiles" element={<ProfilesPage />} />
              <Route path="/dashboards" element={<DashboardsPage />} />
              <Route path="/dashboards/:name" element={<DashboardPage />} />
              <Route path="/services/:name" element={<ServicePage />} />
              <Route path="/slos" element={<SlosPage />} />
              <Route path="/incidents" element={<IncidentsPage />} />
              <Route path="*" element={<Unknown />} />
            </Routes>
          </Suspense>
        </Fence>
      </main>
    </>
  );
}

function ThemeButton() {
  const theme = useTheme();
  const other = theme === 'dark' ? 'light' : 'dark';
  return (
    <button
      type="button"
      className="quiet"
      aria-label={`Use the ${other} theme`}
      title={`Use the ${other} theme`}
      onClick={() => {
        setTheme(other);
      }}
    >
      {theme === 'dark' ? '☀' : '☾'}
    </button>
  );
}

function Unknown() {
  const { pathname } = useLocation();
  useTitle('Not found');
  return (
    <section className="card">
      <h1>There is no such page</h1>
      <p>
        Nothing is at <code>{pathname}</code>. The pages are listed above.
      </p>
    </section>
  );
}

class Fence extends Component<{ children: ReactNode }, { error: Error | null }> {
  override state: { error: Error | null } = { error: null };

  static getDerivedStateFromError(error: unknown) {
    return { error: error instanceof Error ? error : new Error(String(error)) };
  }

  override render() {
    if (!this.state.error) return this.props.children;
    return (
      <section className="card" role="alert">
        <h1>This page broke</h1>
        <p>{this.state.error.message}</p>
        <button
          type="button"
          onClick={() => {
            this.setState({ error: null });
          }}
        >
          Try again
        </button>
      </section>
    );
  }
}
