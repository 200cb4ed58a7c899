---Codekin in Neovim: the face for mappings, statuslines and configuration. See `:help codekin`.
local config = require("codekin.config")
local text = require("codekin.text")

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
  M.drawer().attach(buffer)
  require("codekin.lens").attach(client, buffer)
end

---What draws the suggestions: Neovim itself where it can, else this plugin.
function M.drawer()
  local native = require("codekin.native")
  return native.exists() and native or require("codekin.ghost")
end

---Takes the whole suggestion; false where there is none, so that a mapping can do something else.
---@return boolean
function M.accept()
  return M.drawer().accept()
end

---Takes the next word of the suggestion.
---@return boolean
function M.accept_word()
  return M.drawer().accept(text.first_word)
end

---Takes the next line of the suggestion.
---@return boolean
function M.accept_line()
  return M.drawer().accept(text.first_line)
end

---Shows the next alternative, asking for more where only one is known.
---@return boolean
function M.next()
  return M.drawer().cycle(1)
end

---Shows the alternative before.
---@return boolean
function M.previous()
  return M.drawer().cycle(-1)
end

---Takes the suggestion off the screen.
---@return boolean
function M.dismiss()
  return M.drawer().dismiss()
end

---Asks for suggestions now, wherever the cursor is.
---@return boolean
function M.trigger()
  return M.drawer().trigger()
end

---Whether a suggestion is on the screen.
---@return boolean
function M.visible()
  return M.drawer().visible()
end

---A few words for the statusline; empty where Codekin does not run.
---@return string
function M.statusline()
  return require("codekin.status").line()
end

return M
