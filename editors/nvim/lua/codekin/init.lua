---Codekin in Neovim: the face for mappings, statuslines and configuration. See `:help codekin`.
local config = require("codekin.config")

local M = {}

---Choose otherwise than the defaults; calling it is optional.
---@param options? codekin.Config
function M.setup(options)
  config.set(options)
end

---Begins to serve a buffer; called for each by the plugin.
---@param client vim.lsp.Client
---@param buffer integer
function M.attach(client, buffer)
  if vim.lsp.inline_completion then
    vim.lsp.inline_completion.enable(config.values.ghost_text, { client_id = client.id })
  else
    require("codekin.ghost").attach(buffer)
  end
  require("codekin.lens").attach(client, buffer)
end

---@param own fun(): boolean what to do with our own ghost text
---@param native fun(): boolean what to do with Neovim's
local function either(own, native)
  if vim.lsp.inline_completion then
    return native()
  end
  return own()
end

---Takes the whole suggestion; false where there is none, so that a mapping can do something else.
---@return boolean
function M.accept()
  return either(require("codekin.ghost").accept, function()
    return vim.lsp.inline_completion.get()
  end)
end

---Takes the next word of the suggestion.
---@return boolean
function M.accept_word()
  return either(require("codekin.ghost").accept_word, M.accept)
end

---Takes the next line of the suggestion.
---@return boolean
function M.accept_line()
  return either(require("codekin.ghost").accept_line, M.accept)
end

---Shows the next alternative, asking for more where only one is known.
---@return boolean
function M.next()
  return either(function()
    return require("codekin.ghost").cycle(1)
  end, function()
    vim.lsp.inline_completion.select({ count = 1 })
    return true
  end)
end

---Shows the alternative before.
---@return boolean
function M.previous()
  return either(function()
    return require("codekin.ghost").cycle(-1)
  end, function()
    vim.lsp.inline_completion.select({ count = -1 })
    return true
  end)
end

---Takes the suggestion off the screen.
---@return boolean
function M.dismiss()
  return require("codekin.ghost").dismiss()
end

---Asks for suggestions now, wherever the cursor is and whatever is switched off.
---@return boolean
function M.trigger()
  return require("codekin.ghost").trigger()
end

---Whether a suggestion is on the screen.
---@return boolean
function M.visible()
  return require("codekin.ghost").visible()
end

---A few words for the statusline; empty where Codekin does not run.
---@return string
function M.statusline()
  return require("codekin.status").line()
end

return M
