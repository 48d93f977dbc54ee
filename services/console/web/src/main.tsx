import { QueryClient, QueryClientProvider } from '@tanstack/react-query';
import { StrictMode } from 'react';
import { createRoot } from 'react-dom/client';
import { BrowserRouter } from 'react-router-dom';
import { App } from './app';
import { applyTheme } from './theme';
import './style.css';
import './parts/marks.css';

applyTheme();

const silent = () => undefined;

const queries = new QueryClient({
  // What fails is shown by the page that asked.
  logger: { log: silent, warn: silent, error: silent },
  defaultOptions: {
    queries: {
      // A backend that is away is asked again at the page's own pace, not behind its back.
      retry: false,
      refetchOnWindowFocus: false,
    },
  },
});

const root = document.getElementById('root');
if (root) {
  createRoot(root).render(
    <StrictMode>
      <QueryClientProvider client={queries}>
        <BrowserRouter>
          <App />
        </BrowserRouter>
      </QueryClientProvider>
    </StrictMode>,
  );
}
