const ids = page => [...page.querySelectorAll('section')].map(one => one.id + one.querySelectorAll('details').length).join();
async function refresh() {
  const answer = await fetch('/', {cache: 'no-store'});
  const page = new DOMParser().parseFromString(await answer.text(), 'text/html');
  if (ids(page) !== ids(document) && !document.activeElement.closest('form')) return location.replace('/');
  for (const old of document.querySelectorAll('[data-live]')) {
    const now = page.getElementById(old.id);
    if (now && now.innerHTML !== old.innerHTML) old.innerHTML = now.innerHTML;
  }
}
setInterval(() => refresh().catch(() => {}), 3000);
document.addEventListener('submit', async event => {
  event.preventDefault();
  const output = event.target.querySelector('output');
  output.textContent = 'waiting for the answer';
  const body = new URLSearchParams(new FormData(event.target));
  try {
    output.textContent = await (await fetch(event.target.action, {method: 'POST', body})).text();
  } catch (error) {
    output.textContent = String(error);
  }
  refresh().catch(() => {});
});
document.addEventListener('click', async event => {
  if (!event.target.matches('[data-copy]')) return;
  await navigator.clipboard.writeText(event.target.previousElementSibling.textContent);
  event.target.textContent = 'Copied';
  setTimeout(() => { event.target.textContent = 'Copy'; }, 2000);
});
