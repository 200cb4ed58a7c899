---`:checkhealth codekin`: every reason why Codekin may be silent, and what to do about each.
local client_of = require("codekin.client").get
local config = require("codekin.config")
local program_of = require("codekin.client").program

local M = {}

local health = vim.health

---Milliseconds that the server gets to answer.
local PATIENCE = 5000
local INSTALL = "install it with `pipx install codekin`, or name it: vim.lsp.config('codekin', { cmd = { '/path/to/codekin', 'lsp' } })"

---@return boolean whether the rest can be looked at
local function check_neovim()
  if vim.fn.has("nvim-0.11") == 1 then
    health.ok(("Neovim %s"):format(tostring(vim.version())))
    return true
  end
  health.error("Neovim is too old", { "install Neovim 0.11 or newer" })
  return false
end

local function check_program()
  local program = program_of()
  if vim.fn.executable(program) == 0 then
    health.error(("the server %q is not found"):format(program), { INSTALL })
    return
  end
  local ok, done = pcall(function()
    return vim.system({ program, "--version" }, { text = true }):wait(20000)
  end)
  local version = ok and done.code == 0 and done.stdout:match("codekin%s+(%S+)")
  if version then
    health.ok(("server %s at %s"):format(version, vim.fn.exepath(program)))
  else
    local words = ok and vim.trim(done.stderr):match("[^\n]*$") or tostring(done)
    health.error(("the server %q does not start: %s"):format(program, words), { "Python 3.11 or newer is needed", INSTALL })
  end
end

---@return vim.lsp.Client?
local function check_client()
  if not vim.lsp.is_enabled("codekin") then
    health.error("the client is not enabled", { "put vim.lsp.enable('codekin') into your configuration" })
    return nil
  end
  local client = client_of()
  if not client then
    local filetypes = table.concat((vim.lsp.config.codekin or {}).filetypes or {}, ", ")
    health.warn("no buffer is served", { "open a file of these types: " .. filetypes, "see :Codekin log if one is open" })
    return nil
  end
  health.ok(("running in %s"):format(client.root_dir or "no folder"))
  if not client.root_dir then
    health.warn("the file is in no project", { "open a folder with .git or mix.exs, or set root_markers" })
  end
  return client
end

---@param client vim.lsp.Client
local function check_capabilities(client)
  local server = client.server_info or {}
  for _, method in ipairs({ "textDocument/inlineCompletion", "textDocument/codeLens", "workspace/symbol" }) do
    local provider = method:match("/(.*)$") .. "Provider"
    local announced = client.server_capabilities[provider] ~= nil or method == "workspace/symbol" and client.server_capabilities.workspaceSymbolProvider
    if not announced then
      local advice = ("the server is of version %s: upgrade it"):format(server.version or "unknown")
      health.error(("the server does not offer %s"):format(method), { advice })
    end
  end
end

---@param folder table
local function check_index(folder)
  local about = folder.about or {}
  if vim.tbl_isempty(about) then
    health.warn(("%s: nothing is known of the index yet"):format(folder.name), { "try again in a moment" })
  elseif about.state ~= "ready" then
    health.info(("%s: the index is %s; answers may still be incomplete"):format(folder.name, about.state))
  elseif about.chunks == 0 then
    health.warn(("%s: the index is empty"):format(folder.name), { "`codekin status --files` tells why each file is left out" })
  else
    health.ok(("%s: %d files, %d chunks"):format(folder.name, about.files, about.chunks))
  end
  local model = about.model or {}
  if model.phase == "failed" then
    health.error("the embedding model cannot be used: " .. tostring(model.problem), { "`codekin models list` shows what is there" })
  elseif model.phase == "ready" then
    health.ok("model " .. model.name)
  end
  for _, problem in ipairs(about.problems or {}) do
    health.warn(problem)
  end
end

---@param client vim.lsp.Client
local function check_daemon(client)
  local reply, problem = client:request_sync("codekin/status", {}, PATIENCE)
  local status = reply and reply.result
  if not status then
    local words = problem or reply and reply.err and reply.err.message or "no answer"
    health.error("the server does not answer: " .. words, { "restart it: :lua vim.lsp.enable('codekin', false) and then true" })
    return
  end
  for _, folder in ipairs(status.folders) do
    if folder.lost ~= "" then
      health.error("the daemon is gone: " .. folder.lost, { "it is started again by itself; `codekin doctor` looks deeper" })
    elseif not folder.connected then
      health.warn("the daemon is being started", { "try again in a moment" })
    else
      health.ok("the daemon answers")
      check_index(folder)
    end
  end
  if #status.folders == 0 then
    health.warn(status.message)
  end
end

local function check_suggestions()
  if not config.values.ghost_text then
    health.warn("suggestions are switched off by `ghost_text = false`")
  elseif not require("codekin.switches").enabled() then
    health.warn("suggestions are switched off", { ":Codekin toggle switches them on" })
  elseif vim.fn.mapcheck("<Plug>(codekin-accept)", "i") == "" then
    health.error("the plugin's own file was not loaded", { "put editors/nvim on the runtimepath, without `lazy = true`" })
  elseif vim.fn.hasmapto("<Plug>(codekin-accept)", "i") == 0 then
    health.info("no key is mapped to <Plug>(codekin-accept); see :help codekin-mappings")
  else
    health.ok("suggestions are on")
  end
end

function M.check()
  health.start("codekin")
  if not check_neovim() then
    return
  end
  check_program()
  local client = check_client()
  if client then
    check_capabilities(client)
    check_daemon(client)
  end
  check_suggestions()
end

return M
